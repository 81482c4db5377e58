"""The monthly report: its pages, table, figures and signature."""
