import unittest

from login import Accounts


class LoginTest(unittest.TestCase):
    def setUp(self):
        self.accounts = Accounts()
        self.accounts.register("ada@example.com", "correct horse")

    def test_right_password(self):
        self.assertTrue(self.accounts.login("ada@example.com", "correct horse"))

    def test_wrong_password(self):
        self.assertFalse(self.accounts.login("ada@example.com", "battery staple"))

    def test_email_as_a_phone_types_it(self):
        self.assertTrue(self.accounts.login("Ada@example.com ", "correct horse"))


if __name__ == "__main__":
    unittest.main()
