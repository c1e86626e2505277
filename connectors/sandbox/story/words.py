"""Words the town is made of: names, streets, mail hosts, what people say. All invented; hosts are reserved names."""

from __future__ import annotations

GIVEN = tuple(
    """Aaliyah Aaron Abby Adrian Aisha Alan Alejandro Alice Alicia Amanda Amber Amy Ana Andre Andrea Angela Anita Anthony
    April Arjun Ashley Audrey Beatriz Ben Bernice Beth Brandon Brenda Brian Bridget Bruce Caleb Camila Carl Carla Carlos
    Carmen Caroline Casey Cecilia Chad Charlene Chloe Chris Claire Colin Connie Craig Crystal Curtis Cynthia Dale Dana
    Daniel Darnell Darryl Dawn Deborah Denise Derek Diana Diego Dolores Donna Doris Dwayne Earl Edith Eduardo Elaine Elena
    Eli Emily Eric Erin Esther Ethan Eugene Eva Felicia Fernando Frances Frank Gail Gary George Gina Glenn Gloria Grace
    Greg Hannah Harold Heather Hector Helen Holly Ian Imani Irene Isaac Jackie Jamal Janet Jared Jasmine Javier Jean
    Jenna Jerome Joanna Joel Jorge Joyce Juan Judith Karen Karl Keisha Kenji Kevin Kim Kyle Latoya Laura Leon Leslie Linda
    Lorenzo Lucia Luis Lydia Malik Marcus Margaret Maria Marvin Maya Mei Miguel Minh Monique Nadia Naomi Neil Nicole Nina
    Norma Olga Oscar Pamela Patrice Paul Phuong Priya Rachel Rafael Ramona Ravi Renee Rhonda Ricardo Rosa Roy Ruth
    Samir Sandra Sean Sergio Shannon Sonia Stella Tamara Tanya Teresa Tim Tyrone Valerie Veronica Victor Wanda Wei
    Xavier Yolanda Yusuf Zoe""".split()  # noqa: SIM905
)

FAMILY = tuple(
    """Abbott Acosta Adams Aguilar Alvarez Anderson Armstrong Atkins Bailey Baker Ballard Banks Barnes Barrett Bauer
    Becker Bell Benitez Bennett Bishop Blackwell Boone Bowman Boyd Bradley Brennan Briggs Brooks Bryant Burke Burnett
    Byrd Caldwell Campos Cannon Carlson Carpenter Carrillo Castillo Chandler Chang Chavez Chen Christensen Chu Clayton
    Cohen Coleman Conway Cortez Crawford Cruz Cummings Curry Dalton Daniels Davila Dawson Delgado Dennis Desai Diaz
    Dixon Donovan Doyle Duarte Duncan Durham Edwards Ellis Emerson Erickson Espinoza Estrada Farley Farrell Ferguson
    Fields Figueroa Finley Fischer Fleming Flores Fowler Franklin Frazier Fuentes Gallagher Galvan Garrison Gates
    Gibbons Gilbert Glover Gomez Goodwin Graham Greer Griffith Guerra Gupta Gutierrez Hahn Hale Hammond Hancock Hansen
    Harding Harmon Harper Hayes Henson Herrera Higgins Hobbs Hoffman Holloway Hubbard Huang Huerta Hughes Ibarra Ingram
    Jacobs Jarvis Jennings Jensen Jimenez Joseph Kaur Keller Kemp Khan Kim Kirby Klein Knox Kramer Lambert Larsen Leblanc
    Li Lindsey Logan Lopez Lowe Lozano Lucas Lynch Macias Mahoney Maldonado Mann Marquez Marsh Massey Mathis McBride
    McCarthy McDaniel McKenzie Medina Mehta Mercado Meyer Middleton Molina Monroe Montoya Moran Moreno Morrison Mueller
    Murillo Nash Navarro Nelson Nguyen Nichols Nixon Nolan Norris O'Brien O'Connor Ochoa Olson Ortega Osborne Owens Pacheco
    Padilla Park Parrish Patel Patterson Pena Petersen Pham Pittman Ponce Porter Preston Quinn Ramirez Randall Reeves
    Reyes Rhodes Rivera Robbins Roberson Rojas Romero Rosales Rowland Rubio Ruiz Salazar Saunders Schmidt Serrano Shaffer
    Sharma Shelton Silva Singh Snyder Solis Stanton Stein Stokes Suarez Sullivan Tanner Tate Thornton Tran Trevino Trujillo
    Underwood Valdez Vance Vargas Vasquez Vaughn Vega Villarreal Wade Walsh Watkins Weber Webster Whitaker Wilkins
    Winters Wong Wyatt Xiong Yang Yates Young Zamora Zhang Zimmerman""".split()  # noqa: SIM905
)

STREETS = tuple(
    f"{name} {kind}"
    for name, kind in zip(
        """Oak Maple Cedar Elm Juniper Willow Birch Aspen Magnolia Hickory Sycamore Poplar Laurel Walnut Chestnut Dogwood
        Redbud Linden Pecan Spruce Mesquite Prairie Ridge Valley Canyon Lakeview Sunset Meadow Harbor Mill Orchard Church
        School Franklin Jefferson Lincoln Madison Monroe Highland Park Spring Garden Quail Bluebonnet Heron Fox Pioneer
        Foundry Railroad Summit""".split(),  # noqa: SIM905
        "St Ave Dr Ln Ct Rd Blvd Way Pl Ter".split() * 5,  # noqa: SIM905
        strict=True,
    )
)

MAIL_HOSTS = (
    "mailbox.example",
    "inbox.example",
    "homemail.test",
    "fastpost.example",
    "quickmail.test",
    "netpost.example",
)

# what a caller screen shows instead of a name
NO_NAMES = ("WIRELESS CALLER", "Cell Phone", "Unknown", "")
ROBOTS = ("TOLL FREE CALL", "SPAM RISK", "MARKETING", "V0912345678", "Unavailable", "")

PREFIXES = tuple(
    """Ridgeline Cornerstone Bluebird Summit Lonestar Evergreen Ironwood Lakeside Redwood Silverleaf Northgate Trailhead
    Hometown Pinnacle Granite Sunrise Keystone Riverbend Copperfield Beacon Stonebridge Eastview Hillcrest Frontier Bayline
    Clearwater Oakhurst Highline Meridian Patriot Cardinal Prairie Harborview Westfield Falcon Goldenrod Millbrook
    Crestwood Juniper Longhorn Cascade Tidewater Foxglove Greystone Wildwood Bridgeport Kingfisher Amberly""".split()  # noqa: SIM905
)

SUFFIXES = {
    "plumbing": ("Plumbing", "Plumbing Co", "Plumbing & Drain", "Plumbing Services", "Plumbers"),
    "roofing": ("Roofing", "Roofing Co", "Roof & Gutter", "Roofing Services", "Roofers"),
    "hvac": ("Heating & Air", "HVAC", "Air Conditioning", "Comfort Heating", "Heating & Cooling"),
}

TEXT_BACK = "Hi, this is {business}. Sorry we missed your call! How can we help? Reply STOP to opt out."
AUTO_REPLY = "Thanks! We will be right with you."
FORM_RECEIVED = (
    "Hi {given}, {business} got your request about {service}. We will call you shortly. Reply STOP to opt out."
)
CONFIRMED = "{business}: your {service} visit is booked for {day}. Reply C to confirm or call {office}."
REMINDER = "{business}: see you tomorrow for your {service} visit. Reply R if you need another time."
QUOTE_REMINDER = (
    "Hi {given}, did you have a chance to look at our quote for {service}? Happy to answer questions. - {business}"
)
REVIEW_ASK = "Thanks for choosing {business}! We would love your honest feedback: https://{domain}/review"
STAFF_TEXT = (
    "Thanks! Can I call you in a few minutes?",
    "Got it. What is the best address for the visit?",
    "We have an opening tomorrow morning, does that work?",
    "Understood, one of our technicians will call you back today.",
)
REPLIES = (
    "Yes please call me back, it is about {service}",
    "Can someone come out this week?",
    "I need a quote for {service}",
    "Yes, still need help!! 🙏",
    "How much do you charge for {service}?",
    "call me after 5 pls",
)
ASKS = (
    "Need help with {service}. How soon can you come?",
    "Looking for {service}, please call.",
    "Hi, do you do {service}? We are in {city}.",
    "{service} needed.\r\nBest time to reach me is in the morning.",
    "Please send a quote for {service}, house built in 1987.",
)
THANKS = ("Ok sounds good, thanks", "Great, talk soon.", "That works for me.", "Thank you!\r\nSee you then")
GOOD_REVIEWS = (
    "On time, tidy and fair price. Will use again.",
    "Explained everything and fixed it the same day.",
    "Good work, a bit late but they called ahead.",
    "Great crew!",
)
BAD_REVIEWS = (
    "Had to come back twice and nobody called me.",
    "Left a mess and the problem came back after a week.",
    "Charged more than the quote said.",
)
SPAM_FORMS = (
    "We can bring your site to page one of search results. Reply for a free audit.",
    "Business funding up to $500k approved today!!!",
    "Buy verified leads in your area",
)
CALL_NOTES = (
    "gate code 4417",
    "prefers mornings",
    "will decide after second quote",
    "husband handles payment",
    "dog in yard",
)
