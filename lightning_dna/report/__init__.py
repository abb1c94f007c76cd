"""From a results folder to a page: tables, figures and wording, all pure functions of files."""
