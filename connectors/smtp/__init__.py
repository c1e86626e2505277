"""E-mail through any SMTP server: nothing is read here, only sent.

    MAIL, RCPT, DATA  <-  delivery.EmailMessage

Facts that shaped this:
- A server answers once, after the last dot. Everything before that is surely not sent; a connection that breaks while we wait for
  that answer leaves it open, and SMTP has no way to ask later. Such a mail is never sent again by itself.
- The Message-ID is made of our key, so it is the same however often a mail is built: bounces, replies and events name it, and
  many mailboxes show two mails with one Message-ID as one.
- 250 means that the server took it, not that it arrived: bounces come later, as mails or as events of the server's operator.
- A reply's words quote addresses. Only its codes (RFC 5321 and RFC 3463) are kept.

connector.py  the connection, and whether it works
deliver.py    handing a mail over, and what the server's answers mean
letter.py     the mail itself
"""

from connectors.smtp.connector import Smtp, SmtpOptions

__all__ = ["Smtp", "SmtpOptions"]
