"""One HTML page of all reports: the paper's claims one by one, with verdicts, pictures, tables and commands."""
