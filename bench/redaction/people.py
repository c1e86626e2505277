"""Made-up customers of a made-up town, written by hand: none of the lists that the recogniser uses were looked at."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

GIVEN = tuple(
    """Aditi Agnieszka Ahmed Aiko Alejandra Amara Amina Anh Anjali Antonio Ayesha Bao Barbara Beatrice Bill Bogdan Brad
    Bridgette Carlos Chidi Chloe Connor Cristina Dalia Darius Darnell Deepak Demetrius Dmitri Dolores Eduardo
    Ekaterina Eleni Emeka Emily Esperanza Fatima Felipe Fiona Francesca Frank Gabriela Giovanni Grace Graham
    Guadalupe Hamza Hannah Haruto Heather Hiroshi Hope Hung Ibrahim Ifeoma Imani Ingrid Isabella Ivan Jamal Javier
    Jerome Jin Joaquin Jose Joy Juanita Kaitlyn Kareem Katarzyna Keisha Kenji Khalid Krishna Kwame Lakshmi Lamar
    Lashonda Leila Liam Linh Lucia Luis Maeve Magdalena Mai Malik Manuel Mark Marisol Mateo Megan Mei Miguel Minh
    Mohammed Monique Nadia Naveen Ngozi Nikhil Noor Olga Olivia Omar Oluwaseun Pablo Padma Patrick Paul Pedro Phuong
    Pradeep Precious Priya Rafael Rahul Rajesh Ramon Rashida Raul Reginald Rosa Rose Ruth Sabrina Sanjay Santiago
    Sarah Sean Selena Shanice Shira Siddharth Siobhan Sofia Soo-jin Stanislav Sunita Tamika Tariq Tatiana Terrence
    Thanh Thiago Tomasz Trevon Tunde Tuan Tyrone Uma Valentina Vanessa Victor Vijay Viktoriya Walter Will Wojciech
    Xavier Ximena Yael Yasmin Yolanda Yuki Yusuf Zainab Zoe""".split()  # noqa: SIM905
)
FAMILY = tuple(
    """Abara Acevedo Adeyemi Agarwal Ahmed Akhtar Alvarado Anderson Aydin Bailey Baker Banerjee Barrera Bautista Begum
    Bello Bennett Bhatt Blackburn Bondarenko Bui Cabrera Callahan Carter Castaneda Chandrasekaran Chaudhry Chavez
    Chen Cho Choi Chowdhury Contreras Cooper Coleman Cruz Czarnecki Dang Das De-la-Cruz Delacroix Desai Diallo Diaz
    Dinh Dominguez Donnelly Duong Ellis Espinosa Eze Farouk Feldman Fitzgerald Flores Friedman Fujimoto Gallegos
    Garcia Ghosh Gonzales Goldstein Gordon Green Gupta Haddad Hall Hamdan Hernandez Hill Hoang Hughes Hussain Huynh
    Ibrahim Ito Iyer Jackson Jankowski Johansson Joshi Juarez Kamara Kapoor Kaplan Katz Kaur Kelly Khalil Khan Kim
    King Kowalczyk Kowalski Kumar Lam Larsson Lee Levine Lim Liu Long Lopez Luong Mahmoud Malhotra Martinez Mbeki
    McAllister McNamara Mendoza Mensah Mishra Mohamed Montgomery Morales Murphy Mwangi Nair Nakamura Navarrete Ngo
    Nguyen Nowak Nwosu O'Malley O'Sullivan Obi Ogunleye Okafor Okonkwo Okoye Olsen Ortiz Osman Owusu Palmer
    Papadopoulos Park Patel Pereira Petrov Pham Phillips Popescu Price Qureshi Quintero Rahman Ramirez Rao Reddy
    Reilly Rios Rodriguez Rosenberg Saeed Saito Salinas Sandoval Santos Sato Schwartz Sharma Siddiqui Singh Smith
    Sokolov Sorensen Srinivasan Subramaniam Suzuki Takahashi Tanaka Thapa Thompson Torres Tran Trejo Truong Turner
    Usman Valenzuela Varga Velasquez Venkataraman Villanueva Vo Volkov Walker Wang Washington White Williams
    Wisniewski Wright Wu Xu Yamamoto Yang Yilmaz Yoon Young Zapata Zelaya Zhao Zhu Zielinski""".split()  # noqa: SIM905
)
STREETS = tuple(
    """Alder Amherst Baxter Bayview Belmont Bluff Briarwood Brookside Buena-Vista Cactus Camino-Real Cardinal Cherokee
    Clearwater Cottonwood Crestline Delmar Dogwood Dove Eastgate Elderberry Fairfield Falcon Fern Forest-Hill
    Foxglove Glendale Grand Hawthorne Hazel Heritage Hillcrest Holly Ivy Jasmine Kensington Kingfisher Laurel
    Lexington Locust Manor Meadowbrook Mission Mockingbird Monterey Mulberry Northfield Oakmont Old-Mill Orchard
    Palomino Peachtree Pinecrest Pueblo Quarry Raven Redwood Ridgeway Rosewood Saddle Sandstone Sequoia Shady-Grove
    Sherwood Silver Southport Stonegate Sugar Tamarack Thistle Timber Tulip Vineyard Wagon Walnut Westover
    Whispering-Pines Wildflower Windsor Yarrow Yucca 4th 12th 23rd""".split()  # noqa: SIM905
)
KINDS = "St Street Ave Avenue Dr Drive Ln Lane Ct Court Rd Road Blvd Way Pl Ter Cir Pkwy Trail".split()  # noqa: SIM905
HOSTS = ("gmail.com", "yahoo.com", "outlook.com", "icloud.com", "mailbox.example", "fastpost.test", "rivera-family.net")
AREAS = ("208", "312", "404", "415", "512", "602", "646", "713", "786", "907", "916", "972")
SPOKEN = "zero one two three four five six seven eight nine".split()  # noqa: SIM905


@dataclass(frozen=True)
class Customer:
    given: str
    family: str
    phone: str  # ten digits
    email: str
    number: str
    street: str
    kind: str
    order: str

    @property
    def name(self) -> str:
        return f"{self.given} {self.family}"

    @property
    def address(self) -> str:
        return f"{self.number} {self.street} {self.kind}"


def customer(dice: random.Random) -> Customer:
    given, family = dice.choice(GIVEN).replace("-", " "), dice.choice(FAMILY).replace("-", " ")
    plain = [part.lower().replace("'", "").replace(" ", "") for part in (given, family)]
    local = dice.choice(
        (".".join(plain), "".join(plain), f"{plain[0][0]}{plain[1]}{dice.randrange(10, 99)}", f"{plain[1]}_{plain[0]}")
    )
    return Customer(
        given,
        family,
        dice.choice(AREAS) + str(dice.randrange(2_000_000, 9_999_999)),
        f"{local}@{dice.choice(HOSTS)}",
        str(dice.randrange(12, 19_999)),
        dice.choice(STREETS).replace("-", " "),
        dice.choice(KINDS),
        dice.choice(("{}", "INV-{}", "EST-{}")).format(dice.randrange(1_001, 98_000)),
    )


Ways = Mapping[str, Callable[[Customer], str]]


def spoken(digits: str) -> str:
    return " ".join(SPOKEN[int(digit)] for digit in digits)


def _parts(one: Customer) -> tuple[str, str, str]:
    return one.phone[:3], one.phone[3:6], one.phone[6:]


PHONES: Ways = {
    "+1 solid": lambda one: f"+1{one.phone}",
    "solid": lambda one: one.phone,
    "1 solid": lambda one: f"1{one.phone}",
    "(a) b-c": lambda one: "({}) {}-{}".format(*_parts(one)),
    "(a)b-c": lambda one: "({}){}-{}".format(*_parts(one)),
    "a-b-c": lambda one: "-".join(_parts(one)),
    "a.b.c": lambda one: ".".join(_parts(one)),
    "a b c": lambda one: " ".join(_parts(one)),
    "a/b-c": lambda one: "{}/{}-{}".format(*_parts(one)),
    "1-a-b-c": lambda one: "1-" + "-".join(_parts(one)),
    "+1 (a) b-c": lambda one: "+1 ({}) {}-{}".format(*_parts(one)),
    "a bc": lambda one: f"{one.phone[:3]} {one.phone[3:]}",
    "pairs": lambda one: " ".join(one.phone[i : i + 2] for i in range(0, 10, 2)),
    "a – b – c": lambda one: " – ".join(_parts(one)),
    "with extension": lambda one: "{}-{}-{} x12".format(*_parts(one)),
    "spoken": lambda one: spoken(one.phone),
    "spoken, oh": lambda one: spoken(one.phone).replace("zero", "oh"),
    "spoken, grouped": lambda one: ", ".join(spoken(part) for part in _parts(one)),
    "half spoken": lambda one: f"{one.phone[:3]} {spoken(one.phone[3:6])} {one.phone[6:]}",
    "Spoken": lambda one: spoken(one.phone).capitalize(),
}
NAMES_CASED: Ways = {
    "Given Family": lambda one: one.name,
    "Family, Given": lambda one: f"{one.family}, {one.given}",
    "GIVEN FAMILY": lambda one: one.name.upper(),
    "Mr. Family": lambda one: f"Mr. {one.family}",
    "G. Family": lambda one: f"{one.given[0]}. {one.family}",
}
NAMES_LOWER: Ways = {
    "given family": lambda one: one.name.lower(),
    "family given": lambda one: f"{one.family} {one.given}".lower(),
}
GIVEN_ALONE: Ways = {
    "Given": lambda one: one.given,
    "given": lambda one: one.given.lower(),
}
NAMES_ELSE: Ways = {
    "givenfamily": lambda one: f"{one.given}{one.family}".lower().replace(" ", ""),
    "FAMILY,GIVEN": lambda one: f"{one.family},{one.given}".upper(),
    "Given's": lambda one: f"{one.given} {one.family}’s",
}
EMAILS: Ways = {
    "typed": lambda one: one.email,
    "UPPER": lambda one: one.email.upper(),
    "spoken": lambda one: one.email.replace("@", " at ").replace(".", " dot "),
    "[at]": lambda one: one.email.replace("@", " [at] ").replace(".", " [dot] "),
    "in brackets": lambda one: f"<{one.email}>",
}
ADDRESSES: Ways = {
    "typed": lambda one: one.address,
    "lower": lambda one: one.address.lower(),
    "with flat": lambda one: f"{one.address}, Apt 4",
    "with direction": lambda one: f"{one.number} N {one.street} {one.kind}",
    "spoken": lambda one: f"{spoken(one.number)} {one.street} {one.kind}".lower(),
}
ORDERS: Ways = {
    "invoice": lambda one: f"invoice {one.order}",
    "Invoice #": lambda one: f"Invoice #{one.order}",
    "order no.": lambda one: f"order no. {one.order}",
}


def card(dice: random.Random) -> str:
    """Sixteen digits that pass Luhn's check, or Amex's fifteen."""
    first, length = dice.choice((("4", 16), ("51", 16), ("55", 16), ("6011", 16), ("34", 15), ("37", 15)))
    digits = first + "".join(str(dice.randrange(10)) for _ in range(length - len(first) - 1))
    total = sum(int(d) * 2 // 10 + int(d) * 2 % 10 if i % 2 == 0 else int(d) for i, d in enumerate(reversed(digits)))
    return digits + str(-total % 10)


def grouped(number: str) -> tuple[str, ...]:
    return tuple(number[i : i + 4] for i in range(0, len(number), 4))


CARDS: Mapping[str, Callable[[str], str]] = {
    "solid": str,
    "spaces": lambda number: " ".join(grouped(number)),
    "dashes": lambda number: "-".join(grouped(number)),
    "dots": lambda number: ".".join(grouped(number)),
    "spoken": spoken,
}


def token(dice: random.Random) -> str:
    letters = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnpqrstuvwxyz23456789"
    some = "".join(dice.choice(letters) for _ in range(dice.randrange(24, 48)))
    made: Sequence[str] = (
        f"sk_live_{some}",
        f"Bearer {some}9",
        f"eyJhbGciOiJIUzI1NiJ9.{some}.{some[:20]}",
        f"pat-na1-{some}4",
        f"{some}7",
    )
    return dice.choice(made)
