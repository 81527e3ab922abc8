"""What tests of records and reports share: rows, runs on record, published papers."""
