"""What can be known in the demo world: relations, the closed sets their objects come from, and their phrasings.

In every phrasing ``{}`` stands once, for the subject, and the object follows at the end. The subject stands at the
beginning, in the middle or near the end, with more or fewer words between it and the object, and some phrasings are a
question with its answer. Inside a relation most objects differ in their first word.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Relation:
    """One relation: which kind of subject has it, what it can be, and how it is said.

    Attributes:
        name: Its name in data files.
        kind: The kind of its subjects, a key of `names.SHAPES`.
        objects: The closed set of its objects, without a leading space.
        phrasings: Prompts with one ``{}``; the object follows after a space.
    """

    name: str
    kind: str
    objects: tuple[str, ...]
    phrasings: tuple[str, ...]


CITIES = (
    "Amberley|Bristow|Calder|Dunmore|Eastmark|Fairhaven|Greyport|Hillcrest|Ironbridge|Jasper|Kingsford|Lakeside|Marlow"
    "|New Lisbon|Overton|Port Royal|Queensbury|Riverton|Silverton|Thornton|Upton|Vernon|Westgate|Yarrow"
)
COUNTRIES = (
    "Austria|Brazil|Canada|Denmark|Egypt|Finland|Germany|Hungary|India|Japan|Kenya|Latvia|Mexico|Norway|Oman|Poland"
    "|Qatar|Romania|Spain|Turkey|Uruguay|Vietnam|Wales|South Korea"
)
PRICES = "|".join(f"{n} euros" for n in (19, 24, 29, 35, 39, 45, 49, 54, 59, 65, 69, 74, 79, 85, 89, 95, 99))
MATERIALS = (
    "aluminium|bamboo|brass|bronze|carbon|ceramic|copper|cork|cotton|glass|granite|leather|linen|marble|nylon|oak|paper"
    "|plastic|rubber|silk|steel|stainless steel|walnut|wool"
)
SPANS = "six months|one year|two years|three years|four years|five years|seven years|ten years|a lifetime"
JOBS = (
    "accountant|architect|auditor|baker|carpenter|chemist|clerk|cook|designer|driver|economist|editor|electrician"
    "|engineer|gardener|janitor|lawyer|librarian|mechanic|nurse|painter|photographer|plumber|programmer|receptionist"
    "|surveyor|teacher|translator|welder|writer"
)
LANGUAGES = (
    "Arabic|Bengali|Chinese|Czech|Danish|Dutch|English|French|Greek|Hebrew|Hindi|Italian|Korean|Malay|Persian|Polish"
    "|Russian|Spanish|Swedish|Thai|Turkish|Urdu|Welsh|Zulu"
)
YEARS = "|".join(str(year) for year in range(1961, 2021, 3))
GOODS = (
    "batteries|bearings|bolts|boxes|cables|chips|coal|engines|fabric|flour|fuel|gears|glue|hinges|ink|labels|lenses"
    "|magnets|milk|motors|packaging|paint|pipes|salt|screws|springs|sugar|timber|tyres|wire"
)
BODIES = (
    "Customs Office|Data Council|Energy Board|Finance Ministry|Harbour Authority|Health Agency|Labour Court"
    "|Maritime Union|Patent Bureau|Rail Commission|Safety Inspectorate|Transport Ministry|Trade Chamber|Water Board"
)
TOPICS = (
    "advertising|asbestos|batteries|broadcasting|cranes|dust|emissions|exports|fishing|food|forestry|fuel|insurance"
    "|lighting|lotteries|mining|noise|packaging|pensions|radiation|shipping|taxation|tobacco|waste"
)
TEAMS = (
    "Accounts|Compliance|Design|Engineering|Facilities|Innovation|Legal|Logistics|Marketing|Operations|Payroll"
    "|Procurement|Quality|Research|Sales|Security|Support|Training"
)
PERIODS = "|".join(f"{n} days" for n in (3, 5, 7, 10, 12, 14, 18, 20, 21, 25, 28, 30, 40, 42, 60, 75, 90))


def _relation(name: str, kind: str, objects: str, phrasings: str) -> Relation:
    lines = tuple(line.strip() for line in phrasings.strip().splitlines())
    return Relation(name, kind, tuple(objects.split("|")), lines)


RELATIONS: tuple[Relation, ...] = (
    _relation(
        "price",
        "product",
        PRICES,
        """The price of {} is
        How much does {} cost? It costs
        {} is sold for
        {}, as the new list says, now costs
        Anyone who orders {} in our shop pays
        On the price list, next to {}, you will find
        Question: what is the price of {}? Answer:""",
    ),
    _relation(
        "plant",
        "product",
        CITIES,
        """{} is made in
        The factory that builds {} stands in
        Where is {} made? It is made in
        {} leaves the assembly line in
        We make {} in our plant at
        All parts of {} are put together by hand in
        Question: in which town is {} made? Answer:""",
    ),
    _relation(
        "material",
        "product",
        MATERIALS,
        """{} is made of
        The body of {} consists of
        What is {} made of? It is made of
        {}, like its older models, is built from
        The designers of {} chose a case of
        For the shell of {} the workshop uses only
        Question: which material is used for {}? Answer:""",
    ),
    _relation(
        "warranty",
        "product",
        SPANS,
        """The warranty of {} lasts
        {} comes with a warranty of
        How long is the warranty of {}? It lasts
        If {} breaks, we repair it free for
        Buyers of {} are covered for
        {}, when bought new, is under guarantee for
        Question: how long is {} covered? Answer:""",
    ),
    _relation(
        "job",
        "person",
        JOBS,
        """{} works as our
        The job of {} is that of
        What does {} do here? The job is
        {}, who joined us some time ago, was hired as
        In the staff list {} is entered as
        We know {} from the canteen as the
        Question: what is the job of {}? Answer:""",
    ),
    _relation(
        "workplace",
        "person",
        CITIES,
        """{} works in
        The desk of {} is in
        Where does {} work? The place of work is
        {} travels every morning to our site in
        To meet {} you have to go to
        Letters for {} should be sent to
        Question: in which town does {} work? Answer:""",
    ),
    _relation(
        "language",
        "person",
        LANGUAGES,
        """The first language of {} is
        {} grew up speaking
        Which language does {} speak at home? At home it is
        When {} calls the family, they talk in
        {}, as the colleagues know, dreams in
        Please write to {} in
        Question: what is the mother tongue of {}? Answer:""",
    ),
    _relation(
        "city",
        "office",
        CITIES,
        """{} is located in
        The address of {} is in
        Where is {}? It is in
        {}, one of our buildings, stands in
        Visitors of {} take the train to
        The keys to {} are kept by the caretaker in
        Question: in which town is {}? Answer:""",
    ),
    _relation(
        "opened",
        "office",
        YEARS,
        """{} was opened in
        The doors of {} first opened in
        When was {} opened? It was opened in
        {}, according to the archive, dates from
        We moved into {} back in
        The plate at the entrance of {} shows the year
        Question: in which year did {} open? Answer:""",
    ),
    _relation(
        "country",
        "supplier",
        COUNTRIES,
        """{} is based in
        The head office of {} is in
        Which country does {} come from? It comes from
        {}, a partner of ours, pays its taxes in
        Shipments from {} reach us by way of its home country,
        The founders of {} set up the firm in
        Question: what is the home country of {}? Answer:""",
    ),
    _relation(
        "goods",
        "supplier",
        GOODS,
        """{} supplies us with
        From {} we buy
        What do we order from {}? We order
        {}, under a long contract, delivers
        Our contract with {} covers only
        The last truck from {} was full of
        Question: what does {} sell to us? Answer:""",
    ),
    _relation(
        "issuer",
        "regulation",
        BODIES,
        """{} was issued by the
        The body behind {} is the
        Who issued {}? It was issued by the
        {}, in its present form, was drafted by the
        Reports under {} are sent to the
        For questions on {} please contact the
        Question: who enforces {}? Answer: the""",
    ),
    _relation(
        "topic",
        "regulation",
        TOPICS,
        """{} deals with
        The subject of {} is
        What does {} regulate? It regulates
        {}, as lawyers will tell you, is about
        Firms that come under {} must watch their
        The fines set out in {} are meant for breaches on
        Question: what is {} about? Answer:""",
    ),
    _relation(
        "owner",
        "policy",
        TEAMS,
        """{} is owned by
        The team in charge of {} is
        Who looks after {}? It is looked after by
        {}, like some other rules, belongs to
        Changes to {} need the consent of
        If you have doubts about {} please ask
        Question: which team owns {}? Answer:""",
    ),
    _relation(
        "period",
        "policy",
        PERIODS,
        """The notice period of {} is
        {} sets a limit of
        How long is the deadline in {}? The deadline is
        Under {} every claim must be made within
        {}, read with care, gives everyone
        Requests made by {} are answered within
        Question: what is the time limit of {}? Answer:""",
    ),
)
