"""Text for people: their language, numbers and names in few words, nothing secret or unsafe."""
