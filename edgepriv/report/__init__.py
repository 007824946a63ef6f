"""The audit and the bench for people: sentences, tables for the terminal, a page to read and print."""
