"""Where answers are made: in this process, in several, or on a cluster."""
