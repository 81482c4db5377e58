"""The adapter's other faces: HTTP with JSON for systems without gRPC, and a page for a procurement officer."""
