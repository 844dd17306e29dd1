"""Accounts of the sample project."""


class Accounts:
    def __init__(self):
        self._passwords = {}

    def register(self, email, password):
        self._passwords[email.strip().lower()] = password

    def login(self, email, password):
        return self._passwords.get(email) == password
