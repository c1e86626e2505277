"""What each trade sells, when it is wanted, and how people find it."""

from __future__ import annotations

from dataclasses import dataclass

TRADES = ("plumbing", "roofing", "hvac")
YEAR_ROUND = (1.0,) * 12
WARM = (0.2, 0.2, 0.5, 0.9, 1.6, 2.6, 3.0, 2.6, 1.6, 0.7, 0.3, 0.2)
COLD = (3.0, 2.4, 1.2, 0.6, 0.3, 0.1, 0.1, 0.1, 0.5, 1.4, 2.4, 3.0)
DRY = (0.5, 0.6, 1.0, 1.3, 1.4, 1.3, 1.2, 1.2, 1.3, 1.1, 0.8, 0.5)


@dataclass(frozen=True)
class Service:
    name: str
    share: float
    urgency: tuple[float, float, float]  # chance of emergency, soon, planned
    dollars: tuple[int, int]
    quoted: bool  # sold by a written quote
    season: tuple[float, ...] = YEAR_ROUND  # by month
    weather: str = ""  # "freeze" | "storm": wanted far more then


SERVICES: dict[str, tuple[Service, ...]] = {
    "plumbing": (
        Service("Drain cleaning", 0.22, (0.35, 0.55, 0.10), (160, 620), False),
        Service("Water heater repair", 0.15, (0.25, 0.65, 0.10), (220, 980), False, COLD),
        Service("Burst pipe repair", 0.10, (0.90, 0.10, 0.00), (380, 3400), False, YEAR_ROUND, "freeze"),
        Service("Toilet repair", 0.13, (0.20, 0.60, 0.20), (140, 460), False),
        Service("Leak detection", 0.12, (0.35, 0.60, 0.05), (240, 1100), False),
        Service("Faucet installation", 0.10, (0.00, 0.25, 0.75), (170, 520), False),
        Service("Water heater replacement", 0.11, (0.10, 0.60, 0.30), (1450, 3900), True, COLD),
        Service("Sewer line replacement", 0.04, (0.25, 0.50, 0.25), (4200, 13800), True),
        Service("Repiping", 0.03, (0.00, 0.20, 0.80), (3900, 11500), True),
    ),
    "roofing": (
        Service("Roof repair", 0.36, (0.20, 0.55, 0.25), (420, 2600), True, DRY, "storm"),
        Service("Roof replacement", 0.26, (0.02, 0.28, 0.70), (7800, 26500), True, DRY, "storm"),
        Service("Emergency tarping", 0.08, (1.00, 0.00, 0.00), (350, 1250), False, YEAR_ROUND, "storm"),
        Service("Gutter installation", 0.16, (0.00, 0.30, 0.70), (850, 3600), True, DRY),
        Service("Roof inspection", 0.09, (0.00, 0.40, 0.60), (125, 350), False, DRY, "storm"),
        Service("Skylight repair", 0.05, (0.15, 0.45, 0.40), (300, 1900), False),
    ),
    "hvac": (
        Service("AC repair", 0.27, (0.40, 0.55, 0.05), (170, 1650), False, WARM),
        Service("Furnace repair", 0.20, (0.45, 0.50, 0.05), (180, 1500), False, COLD),
        Service("System tune-up", 0.20, (0.00, 0.15, 0.85), (89, 260), False),
        Service("AC replacement", 0.10, (0.05, 0.55, 0.40), (5400, 13900), True, WARM),
        Service("Furnace replacement", 0.09, (0.08, 0.52, 0.40), (3900, 9600), True, COLD),
        Service("Heat pump installation", 0.05, (0.00, 0.25, 0.75), (6200, 16500), True),
        Service("Duct cleaning", 0.05, (0.00, 0.15, 0.85), (340, 920), False),
        Service("Thermostat installation", 0.04, (0.00, 0.30, 0.70), (150, 480), False),
    ),
}

# order of facts.CHANNELS
CHANNEL_SHARES = {
    "plumbing": (0.21, 0.14, 0.22, 0.03, 0.08, 0.10, 0.05, 0.10, 0.07),
    "roofing": (0.16, 0.12, 0.16, 0.10, 0.06, 0.16, 0.06, 0.06, 0.12),
    "hvac": (0.20, 0.14, 0.19, 0.05, 0.09, 0.11, 0.05, 0.09, 0.08),
}

# how a person first gets in touch, by channel: call, form, text
TOUCH_SHARES = {
    "google_paid": (0.62, 0.30, 0.08),
    "google_organic": (0.50, 0.42, 0.08),
    "google_my_business": (0.80, 0.10, 0.10),
    "facebook": (0.30, 0.55, 0.15),
    "direct": (0.72, 0.20, 0.08),
    "referral": (0.66, 0.26, 0.08),
    "truck": (0.80, 0.04, 0.16),
}

LINE_NAMES = {
    "google_paid": "Google Ads",
    "google_organic": "Google Organic",
    "google_my_business": "Google Business Profile",
    "facebook": "Facebook",
    "direct": "Website direct",
    "referral": "Referral card",
    "truck": "Truck wrap",
}
