"""The monthly report: HTML pages, CSV, JSON and signature."""
