"""The Judiciary Statistics Centre: inquiries about court cases over cheques (resolution 3)."""
