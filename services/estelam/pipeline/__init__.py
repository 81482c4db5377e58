"""What happens to each call: admission, look-up, record, reply."""
