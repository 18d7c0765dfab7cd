"""The trading environment: one position kernel that training, validation, paper and live share."""
