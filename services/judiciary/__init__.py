"""Service of the Judiciary Statistics Centre: inquiries about court cases over cheques (resolution 3)."""
