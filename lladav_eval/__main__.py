"""``python -m lladav_eval`` is ``lladav-eval``."""

from lladav_eval.cli.main import main

if __name__ == "__main__":
    main()
