"""The only durable state. No SQL outside this package."""
