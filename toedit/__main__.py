"""`python -m toedit`: the same as the command `toedit`."""

import sys

from toedit.command_line import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
