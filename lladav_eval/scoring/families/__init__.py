"""One file per benchmark family: its own official rule and the strict one, each a pure function of row and text."""
