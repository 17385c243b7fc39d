"""What `gates.py` is made of: ten subjects with what pretend tools returned, and sentences that are true or forged.

Written before the rules, as reports read, and not changed to suit them. Each half has its own subjects and phrasings.
"""

# ruff: noqa: E501 – sentences

from dataclasses import dataclass


@dataclass(frozen=True)
class Pair:
    """A sentence as the evidence has it, the same forged, and the part of it that is forged."""

    true: str
    forged: str
    mark: str


@dataclass(frozen=True)
class Subject:
    """What one report is about."""

    title: str
    evidence: tuple[tuple[str, str, str], ...]
    """Tool, arguments as JSON, text."""
    body: tuple[str, ...]
    """Paragraphs that hold what the evidence says."""
    numbers: tuple[Pair, ...]
    quotes: tuple[tuple[str, str, str], ...]
    """Who said it, what was said, what was not."""
    urls: tuple[tuple[str, str], ...]
    """An address in the evidence, and one that was never seen."""
    listed: tuple[str, ...]
    """Points of a list, three to five."""


SEEN = (
    Subject(
        "Battery storage in Lower Saxony",
        (
            (
                "web_search",
                '{"query": "battery storage Lower Saxony 2025"}',
                "1. Grid batteries pass a milestone - https://www.energy-notes.example/storage/2025-milestone\n"
                "Lower Saxony had 1,250 megawatts of large batteries connected at the end of 2025, up 38 percent in a "
                "year.\n2. Tender results - https://netz.example.org/tenders/q3?id=77\nThe regulator awarded 14 "
                "projects; the cheapest bid was 4.9 cents per kilowatt hour.",
            ),
            (
                "fetch_page",
                '{"url": "https://www.energy-notes.example/storage/2025-milestone"}',
                "Grid batteries pass a milestone\nPublished 12 January 2026\nInvestment came to €2.3 billion. "
                "“Nobody expected the queue for connections to grow this fast,” said Dr. Maren Holst, who heads planning "
                "at Nordnetz GmbH. She added that “a third of the applications will never be built”. The average "
                "project needs 31 months from application to operation. Prices of cells fell from 140 to 96 dollars "
                "per kilowatt hour. The next review is due on 2026-06-30.",
            ),
        ),
        (
            "Large batteries are being connected in Lower Saxony faster than planned. Nordnetz GmbH, the grid operator, "
            "sees a growing queue, and Dr. Maren Holst, its head of planning, doubts that every project will be built.",
            "Cell prices dropped from $140 to $96 per kWh, which explains most of the interest. Three things stand out.",
        ),
        (
            Pair(
                "At the end of 2025, 1.25 GW (1250 megawatts) were connected.",
                "At the end of 2025, 1,520 megawatts were connected.",
                "1,520",
            ),
            Pair("Capacity rose by 38 % within a year.", "Capacity rose by 48 % within a year.", "48 %"),
            Pair("Investment reached EUR 2.3bn.", "Investment reached EUR 3.2bn.", "3.2bn"),
            Pair(
                "The next review is scheduled for June 30, 2026.",
                "The next review is scheduled for July 30, 2026.",
                "July 30, 2026",
            ),
            Pair(
                "A typical project takes thirty-one months to come online.",
                "A typical project takes twenty-one months to come online.",
                "twenty-one",
            ),
        ),
        (
            (
                "Maren Holst",
                "Nobody expected the queue for connections to grow this fast",
                "Nobody believes that the grid can take any more of this",
            ),
            (
                "the head of planning",
                "a third of the applications will never be built",
                "half of the applications will never be built",
            ),
        ),
        (
            (
                "https://www.energy-notes.example/storage/2025-milestone",
                "https://www.energy-notes.example/storage/2026-outlook",
            ),
            ("https://netz.example.org/tenders/q3?id=77", "https://netz.example.org/tenders/q4?id=81"),
        ),
        ("queues for connections", "falling prices of cells", "projects that are never built"),
    ),
    Subject(
        "Outage of the checkout service",
        (
            (
                "read_document",
                '{"path": "incidents/2026-02-14.md"}',
                "# Incident 4471\nStart: 2026-02-14T09:42Z\nEnd: 2026-02-14T11:05Z\nImpact: 18,300 failed payments, "
                "6.4 % of all orders of the day. Cause: a certificate of the load balancer expired. On-call: Priya "
                'Raman. Note by the on-call engineer: "The alert fired, but it went to a channel that nobody reads '
                'any more."',
            ),
            (
                "query_metrics",
                '{"service": "checkout", "from": "2026-02-14"}',
                '{"error_rate": 0.064, "p99_ms": 4210, "requests": 286000, "refunds": 212, "note": "runbook at '
                'https:\\/\\/runbooks.internal.example\\/checkout\\/tls", "owner": "Payments Platform"}',
            ),
        ),
        (
            "The checkout service failed because a certificate of the load balancer had expired. Priya Raman was on "
            "call. The team Payments Platform owns the service.",
            "Requests slowed to 4,210 ms at the 99th percentile before they failed. The incident is no. 4471.",
        ),
        (
            Pair("In total 18,300 payments failed.", "In total 13,800 payments failed.", "13,800"),
            Pair("That is 6.4% of the day's orders.", "That is 4.6% of the day's orders.", "4.6%"),
            Pair(
                "The incident happened on February 14, 2026.",
                "The incident happened on February 24, 2026.",
                "February 24, 2026",
            ),
            Pair("The service handled 286k requests.", "The service handled 268k requests.", "268k"),
            Pair("Errors began at 09:42 UTC.", "Errors began at 09:24 UTC.", "09:24"),
        ),
        (
            (
                "the engineer on call",
                "The alert fired, but it went to a channel that nobody reads any more",
                "The alert never fired because somebody had switched it off",
            ),
            (
                "Priya Raman",
                "it went to a channel that nobody reads any more",
                "it went to a colleague who was on holiday that week",
            ),
        ),
        (
            ("https://runbooks.internal.example/checkout/tls", "https://runbooks.internal.example/checkout/rollback"),
            ("https://runbooks.internal.example/checkout/tls/", "https://status.internal.example/incidents/4472"),
        ),
        ("renew certificates by machine", "send alerts to the rota", "rehearse the runbook", "watch expiry dates"),
    ),
    Subject(
        "School meals in Tampere",
        (
            (
                "search_documents",
                '{"query": "school meals cost participation"}',
                "meals.md:3: The city serves 21 400 lunches on every school day.\nmeals.md:7: A lunch costs the city "
                "3.15 euros, of which 1.02 euros are food.\nmeals.md:9: Seventy-two percent of pupils eat the "
                "vegetarian dish at least once a week.\nmeals.md:15: The survey was made between 3 and 21 March 2025.",
            ),
            (
                "read_document",
                '{"path": "interview.md"}',
                "Interview with Aino Lehtonen, head of the city kitchens.\nQ: What changed?\nA: We stopped asking what "
                "is cheap and started to ask what is eaten. Waste fell by almost half, from 61 grams to 33 grams a "
                "plate. Parents complain less than they did, although not about the fish. More is at "
                "http://kitchens.tampere.example/waste.html#figures and in the report of the Baltic Food Institute.",
            ),
        ),
        (
            "Tampere serves a free lunch in every school. Aino Lehtonen heads the city kitchens, and the Baltic Food "
            "Institute has written about them.",
            "Waste per plate fell from 61 g to 33 g. Food is €1.02 of the price of a meal.",
        ),
        (
            Pair("Each school day 21,400 lunches are served.", "Each school day 24,100 lunches are served.", "24,100"),
            Pair("One lunch costs the city €3.15.", "One lunch costs the city €3.51.", "3.51"),
            Pair(
                "Some 72 percent of pupils choose the vegetarian dish weekly.",
                "Some 27 percent of pupils choose the vegetarian dish weekly.",
                "27 percent",
            ),
            Pair(
                "The survey closed on 21.03.2025.",
                "The survey closed on 28.03.2025.",
                "28.03.2025",
            ),
            Pair(
                "Leftovers are now at 33 grams a plate.",
                "Leftovers are now at 23 grams a plate.",
                "23",
            ),
        ),
        (
            (
                "Aino Lehtonen",
                "We stopped asking what is cheap and started to ask what is eaten",
                "We stopped asking what is eaten and started to ask what is healthy",
            ),
            (
                "the head of the kitchens",
                "Parents complain less than they did, although not about the fish",
                "Parents complain more than they did, mostly about the portions",
            ),
        ),
        (
            ("https://kitchens.tampere.example/waste.html", "https://kitchens.tampere.example/prices.html"),
            ("http://kitchens.tampere.example/waste.html#figures", "https://food.example.fi/reports/2025.pdf"),
        ),
        ("ask what is eaten", "weigh what is left", "publish the figures"),
    ),
    Subject(
        "Choosing a ticketing tool",
        (
            (
                "compare_vendors",
                '{"names": ["Helpwell", "Desk Harbour", "Tixy"]}',
                "vendor | price per seat | rating | seats sold\nHelpwell | $29 | 4.6 | 120000\nDesk Harbour | $45 | 4.4 "
                "| 87500\nTixy | $12 | 3.9 | 9400",
            ),
            (
                "http_get",
                '{"url": "https://reviews.example.com/desk-harbour"}',
                "Desk Harbour review, by Tomás Figueroa, 5 Nov 2025. It is the only one of the three that our lawyers "
                "liked. Migration of 60,000 tickets took nine days. The export is slow; support answered in 2 hours "
                "and 20 minutes on average. Uptime was 99.95%. A year for fifty people costs 27,000 dollars.",
            ),
            ("calculator", '{"expression": "29 * 50 * 12"}', "17400"),
        ),
        (
            "Three products were compared: Helpwell, Desk Harbour and Tixy. Tomás Figueroa reviewed Desk Harbour in "
            "November 2025.",
            "Helpwell has a rating of 4.6, Desk Harbour one of 4.4, and Tixy one of 3.9.",
        ),
        (
            Pair(
                "Fifty seats of Helpwell cost $17,400 a year.", "Fifty seats of Helpwell cost $14,700 a year.", "14,700"
            ),
            Pair("Desk Harbour comes to 27 thousand dollars.", "Desk Harbour comes to 22 thousand dollars.", "22"),
            Pair("Desk Harbour has sold 87,500 seats.", "Desk Harbour has sold 78,500 seats.", "78,500"),
            Pair("Its uptime was 99.95 %.", "Its uptime was 99.59 %.", "99.59"),
            Pair(
                "The review dates from 5 November 2025.",
                "The review dates from 15 November 2025.",
                "15 November 2025",
            ),
        ),
        (
            (
                "Tomás Figueroa",
                "the only one of the three that our lawyers liked",
                "the only one of the three that our engineers trusted",
            ),
            (
                "the review",
                "Migration of 60,000 tickets took nine days",
                "Migration was finished before anybody had noticed it",
            ),
        ),
        (
            ("https://reviews.example.com/desk-harbour", "https://reviews.example.com/helpwell"),
            ("reviews.example.com/desk-harbour/", "https://www.tixy.example/pricing"),
        ),
        ("price per seat", "time to migrate", "speed of support", "exports"),
    ),
    Subject(
        "Leakage in the water network of Bergen",
        (
            (
                "search_documents",
                '{"query": "leakage pipes renewal"}',
                "annual-report.pdf p.12: Of the water that left the works, 28 percent never reached a meter.\n"
                "annual-report.pdf p.14: The municipality renewed 11.3 kilometres of mains, against a plan of 16.\n"
                "annual-report.pdf p.15: Renewal of one metre costs between 9 000 and 14 000 kroner.\n"
                "annual-report.pdf p.31: The budget grew to NOK 412 million.",
            ),
            (
                "fetch_url",
                '{"url": "https://vann.example.no/en/leakage"}',
                "Acoustic sensors found 640 leaks in 2024. Ingrid Solberg of Vestland Vann says: “The pipes from the "
                "seventies are worse than those of our grandparents.” The oldest main dates from 1889. The council "
                "decides on 1 October 2026.",
            ),
        ),
        (
            "More than a quarter of the water is lost on its way. Ingrid Solberg of Vestland Vann blames pipes from the "
            "1970s rather than the oldest ones, which date from 1889.",
            "In 2024 sensors heard 640 leaks. Renewal of a metre costs 9,000 to 14,000 kroner.",
        ),
        (
            Pair("About 28% of the water is lost.", "About 23% of the water is lost.", "23%"),
            Pair("The city renewed 11.3 km of mains.", "The city renewed 13.1 km of mains.", "13.1"),
            Pair("The budget is NOK 412,000,000.", "The budget is NOK 421,000,000.", "421,000,000"),
            Pair("The council decides on 2026-10-01.", "The council decides on 2026-11-01.", "2026-11-01"),
            Pair("The plan had been sixteen kilometres.", "The plan had been eighteen kilometres.", "eighteen"),
        ),
        (
            (
                "Ingrid Solberg",
                "The pipes from the seventies are worse than those of our grandparents",
                "The pipes from the eighties will have to go within ten years",
            ),
            (
                "the annual report",
                "Of the water that left the works, 28 percent never reached a meter",
                "Most of the water that was lost had never been paid for",
            ),
        ),
        (
            ("https://vann.example.no/en/leakage", "https://vann.example.no/en/pressure"),
            ("http://vann.example.no/en/leakage", "https://bergen.example.no/budget/2026"),
        ),
        ("bad pipes from the seventies", "slow renewal", "costs per metre"),
    ),
)

HELD_OUT = (
    Subject(
        "Electric buses in Porto",
        (
            (
                "internet_search",
                '{"q": "Porto electric buses range cost"}',
                "STCP orders 48 more battery buses (https://mobility.example.pt/news/stcp-48) - the contract is worth "
                "EUR 26.4 million. Range in winter: 190 km, in summer 240 km.",
            ),
            (
                "open_page",
                '{"url": "https://mobility.example.pt/news/stcp-48"}',
                'Ana Ribeiro, director of the depot in Francos, called the change "less of a revolution than a new '
                'way of planning the night". The first vehicles arrive on 15 September 2026. A charge takes 3.5 hours. '
                "Drivers were trained in two days. Energy costs 21 cents per kilometre, diesel 47. Noise fell by 7 dB. "
                "By 2030 three quarters of the fleet, some 330 vehicles, are to be electric.",
            ),
        ),
        (
            "Porto is replacing diesel buses. Ana Ribeiro, who directs the depot in Francos, says that planning at night "
            "has changed most.",
            "In summer a bus drives 240 km on one charge, in winter 190. Charging takes three and a half hours.",
        ),
        (
            Pair("The order covers forty-eight buses.", "The order covers sixty-eight buses.", "sixty-eight"),
            Pair("Its value is 26.4 million euros.", "Its value is 24.6 million euros.", "24.6 million"),
            Pair("Deliveries start on Sep 15, 2026.", "Deliveries start on Sep 25, 2026.", "Sep 25, 2026"),
            Pair("Energy costs €0.21 per kilometre.", "Energy costs 31 cents per kilometre.", "31"),
            Pair("The target is about 330 vehicles by 2030.", "The target is about 380 vehicles by 2030.", "380"),
        ),
        (
            (
                "Ana Ribeiro",
                "less of a revolution than a new way of planning the night",
                "more of a revolution than anybody in the depot had hoped",
            ),
            ("the article", "Drivers were trained in two days", "Drivers refused to be trained in their free time"),
        ),
        (
            ("https://mobility.example.pt/news/stcp-48", "https://mobility.example.pt/news/stcp-52"),
            ("https://mobility.example.pt/news/stcp-48/", "https://stcp.example.pt/fleet/2030"),
        ),
        ("range in winter", "planning at night", "training of drivers"),
    ),
    Subject(
        "Hand hygiene audit, wards 3 and 5",
        (
            (
                "read_file",
                '{"path": "audit/october.csv"}',
                "ward,observed,compliant,rate\n3,412,338,82.0\n5,397,361,90.9\n",
            ),
            (
                "search_guidelines",
                '{"query": "hand hygiene compliance target"}',
                "Trust policy HH-2207, valid from 1 April 2024: the target is 95 per cent. Audits use the five moments. "
                'Sister Grace Adeyemi leads the programme. "People wash after the patient far more often than before", '
                "she writes in the foreword. An infection costs £9,750 on average. See "
                "https://guidelines.example.nhs/hh-2207.",
            ),
        ),
        (
            "Two wards were observed in October. Ward 3 reached 82 % and ward 5 reached 90.9 %. The policy, HH-2207, asks "
            "for more.",
            "Sister Grace Adeyemi leads the programme. On ward 5, 361 of 397 moments were compliant.",
        ),
        (
            Pair("Ward 3 was observed 412 times.", "Ward 3 was observed 421 times.", "421"),
            Pair("The target is 95%.", "The target is 85%.", "85%"),
            Pair(
                "The policy has been valid since 01/04/2024.",
                "The policy has been valid since 01/06/2024.",
                "01/06/2024",
            ),
            Pair("One infection costs GBP 9750.", "One infection costs GBP 7950.", "7950"),
            Pair("338 moments on ward 3 were compliant.", "383 moments on ward 3 were compliant.", "383"),
        ),
        (
            (
                "Grace Adeyemi",
                "People wash after the patient far more often than before",
                "People wash when they know that somebody is counting",
            ),
            ("the foreword", "far more often than before", "far less often than they themselves believe"),
        ),
        (
            ("https://guidelines.example.nhs/hh-2207", "https://guidelines.example.nhs/hh-2210"),
            ("guidelines.example.nhs/hh-2207", "https://www.who.example/hygiene/moments"),
        ),
        ("wash before the patient", "observe at night", "tell the wards their figures", "repeat in spring"),
    ),
    Subject(
        "Visitors of the maritime museum",
        (
            (
                "sql_query",
                '{"sql": "select year, visitors from counts"}',
                "year | visitors\n2022 | 143208\n2023 | 171950\n2024 | 204611",
            ),
            (
                "read_document",
                '{"path": "minutes/2025-01-20.docx"}',
                "Minutes of 20 January 2025. Present: H. Okafor (chair), Liesbeth van Dijk, Paul Mercer. The chair: "
                "“We have filled the building, and now we have to fill it with people who come back.” Members rose to "
                "6,120. Half-price evenings brought in 11 % of all visitors. The café lost £14k. The roof will cost "
                "between 1.1 and 1.4 million pounds. The lottery fund (https://fund.example.uk/heritage/grants) answers "
                "in May 2025.",
            ),
        ),
        (
            "The museum counted 143,208 visitors in 2022, 171,950 in 2023 and 204,611 in 2024. Liesbeth van Dijk and Paul "
            "Mercer were present when the figures were discussed.",
            "The roof will need £1.1 million to £1.4 million. The fund answers in May 2025.",
        ),
        (
            Pair("Members now number 6120.", "Members now number 6210.", "6210"),
            Pair(
                "Eleven percent came on half-price evenings.",
                "Seventeen percent came on half-price evenings.",
                "Seventeen percent",
            ),
            Pair("The café lost £14,000.", "The café lost £41,000.", "41,000"),
            Pair(
                "The minutes are those of January 20, 2025.",
                "The minutes are those of January 30, 2025.",
                "January 30, 2025",
            ),
            Pair("Nearly 205,000 people came in 2024.", "Nearly 250,000 people came in 2024.", "250,000"),
        ),
        (
            (
                "The chair",
                "We have filled the building, and now we have to fill it with people who come back",
                "We have emptied the archive, and now we have to find the money to keep it",
            ),
            (
                "H. Okafor",
                "now we have to fill it with people who come back",
                "now we have to charge those who come back",
            ),
        ),
        (
            ("https://fund.example.uk/heritage/grants", "https://fund.example.uk/heritage/loans"),
            ("https://FUND.example.uk/heritage/grants/", "https://museums.example.uk/statistics/2024"),
        ),
        ("repair the roof", "win back visitors", "close the gap of the café"),
    ),
    Subject(
        "Returns policy of an online shop",
        (
            (
                "get_order",
                '{"order_id": "A-90817"}',
                '{"order": "A-90817", "customer": "Yusuf Demir", "total": 129.9, "currency": "EUR", "ordered_at": '
                '"2026-01-08", "delivered_at": "2026-01-13", "items": 4, "status": "delivered"}',
            ),
            (
                "search_policy",
                '{"query": "returns window refund shipping"}',
                'Customers may return goods within 30 days of delivery. "Opened software is excluded from every '
                'return, whatever the reason". Refunds are paid within 14 days. Shipping above 100 euros is free, below '
                "it costs 4.95. Full text: https://shop.example.eu/legal/returns (version of 2 September 2025). Questions "
                "go to the Customer Care Centre in Ghent.",
            ),
        ),
        (
            "Yusuf Demir asks whether the order A-90817 can be returned. It was delivered on 13 January 2026, and goods may "
            "go back within 30 days.",
            "Refunds are paid within 14 days of the return, says the policy. The Customer Care Centre answers questions.",
        ),
        (
            Pair("The order came to €129.90.", "The order came to €192.90.", "192.90"),
            Pair("It was placed on 8 January 2026.", "It was placed on 18 January 2026.", "18 January 2026"),
            Pair("Below 100 euros, shipping costs €4.95.", "Below 100 euros, shipping costs €5.95.", "5.95"),
            Pair("The order has 4 items.", "The order has 6 items.", "6"),
            Pair(
                "The version in force is of September 2, 2025.",
                "The version in force is of September 12, 2025.",
                "September 12, 2025",
            ),
        ),
        (
            (
                "the policy",
                "Opened software is excluded from every return, whatever the reason",
                "Opened software may be returned if it does not run",
            ),
            ("the terms", "within 30 days of delivery", "within 60 days of the order"),
        ),
        (
            ("https://shop.example.eu/legal/returns", "https://shop.example.eu/legal/warranty"),
            ("http://shop.example.eu/legal/returns", "https://help.shop.example.eu/articles/4471"),
        ),
        ("check the date of delivery", "check whether software was opened", "pay within the period"),
    ),
    Subject(
        "Prices of green coffee",
        (
            (
                "news_search",
                '{"query": "arabica price drought Minas Gerais"}',
                "Arabica futures closed at 412.75 cents a pound on 3 February 2026, the highest since 1977. Source: "
                "https://markets.example.com/softs/arabica\nBrazil's crop is put at 44.7m bags, 9.1 per cent less than a "
                "year ago.",
            ),
            (
                "scrape_website",
                '{"website_url": "https://markets.example.com/softs/arabica"}',
                'Roasters such as Vale & Sons have passed on "about a quarter of what we pay more", says buyer Naomi '
                "Vale. Stocks in certified warehouses are down to 378,000 bags. Rain in Minas Gerais was 43 per cent of "
                "normal in January. Consumption grew by one and a half percent. Freight from Santos to Antwerp costs "
                "2,150 dollars a container.",
            ),
        ),
        (
            "Drought in Minas Gerais has driven the price of arabica up; Naomi Vale buys for the roaster Vale & Sons.",
            "The close of 412.75 cents was the highest since 1977. Freight from Santos to Antwerp stands at $2,150.",
        ),
        (
            Pair(
                "The crop is estimated at 44.7 million bags.",
                "The crop is estimated at 47.4 million bags.",
                "47.4 million",
            ),
            Pair("That is 9.1% below last year.", "That is 11.9% below last year.", "11.9%"),
            Pair("Certified stocks are 378k bags.", "Certified stocks are 387k bags.", "387k"),
            Pair("The record fell on 3 Feb 2026.", "The record fell on 13 Feb 2026.", "13 Feb 2026"),
            Pair(
                "January brought 43 percent of the usual rain.",
                "January brought 34 percent of the usual rain.",
                "34 percent",
            ),
        ),
        (
            ("Naomi Vale", "about a quarter of what we pay more", "almost nothing of what we pay more"),
            ("a news item", "the highest since 1977", "the highest price that was ever paid"),
        ),
        (
            ("https://markets.example.com/softs/arabica", "https://markets.example.com/softs/robusta"),
            ("https://markets.example.com/softs/arabica#chart", "https://ico.example.org/prices/daily"),
        ),
        ("drought", "low stocks", "freight", "steady demand"),
    ),
)
