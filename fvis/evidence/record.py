"""What metadata.json says under `evidence`, as types."""

from dataclasses import dataclass, field

from fvis.typed_json import Number, key

SUPPORTED, PLAUSIBLE, UNSUPPORTED = "supported", "plausible", "unsupported"
WORDS = (SUPPORTED, PLAUSIBLE, UNSUPPORTED)
FOR, AGAINST = "for", "against"  # what a kind of evidence may say; else it says nothing


@dataclass(frozen=True)
class TaskRecord:
    """A two-alternative task: which of two photographs excites the unit more?

    `strong` and `weak` are those two. The other photographs of their batch, which show how the unit
    responds, are its `strong_references` and `weak_references`.
    """

    strong: str = ""
    weak: str = ""
    strong_references: list[str] = field(default_factory=list)
    weak_references: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class ConditionRecord:
    """How the machine observer does with one kind of explanation.

    Attributes:
        accuracy: the share of tasks that it solves; a tie counts as half.
        score: its mean probability of the right choice (Zimmermann et al. 2024).
        shuffled: the accuracy where photographs have each other's activations: chance is 0.5.
        matched: of synthetic pictures, the share of photographs, each in the place of those that
            excite the unit, with which the score is at least as high: a picture that has nothing to
            do with the unit is matched by half of them.
        maximising, minimising: the number of pictures on each side of the explanation.
    """

    accuracy: Number = None
    score: Number = None
    shuffled: Number = None
    matched: Number = None
    maximising: int = 0
    minimising: int = 0


@dataclass(frozen=True)
class ObserverRecord:
    """The machine observer: with photographs (`natural`) and with optimal pictures (`synthetic`).

    `gap` is the natural accuracy minus the synthetic one. `embedding` names the network that
    compares pictures.
    """

    embedding: str = ""
    natural: ConditionRecord = field(default_factory=ConditionRecord)
    synthetic: ConditionRecord = field(default_factory=ConditionRecord)
    gap: Number = None
    tasks: list[TaskRecord] = field(default_factory=list)


@dataclass(frozen=True)
class PathRecord:
    """Mean correlations of activations at each of `layers`, between the unit's strongest
    photographs and three others.

    Attributes:
        picture: with the unit's picture.
        photographs: with one another.
        others: with all the other photographs.
        kept: (picture - others) / (photographs - others), of the means over the layers: 1 where the
            picture takes the strongest photographs' way through the network, 0 where it is no more
            like them than any photograph is. None where those take no way in common.
        reached: how far the picture's activation gets from that of the median photograph (0) to
            that of the weakest of the strongest ones (1), or further. None where they are the same.
    """

    layers: list[str] = field(default_factory=list)
    picture: list[Number] = field(default_factory=list)
    photographs: list[Number] = field(default_factory=list)
    others: list[Number] = field(default_factory=list)
    kept: Number = None
    reached: Number = None


@dataclass(frozen=True)
class SeedsRecord:
    """How pictures of the unit from other seeds agree with its own.

    Attributes:
        activations: of the pictures from other seeds.
        agreement: the weakest activation over the strongest, the unit's own picture included.
        similarity: the mean similarity of the pictures' embeddings (cosine).
        of_photographs: that of photographs to one another.
    """

    activations: list[Number] = field(default_factory=list)
    agreement: Number = None
    similarity: Number = None
    of_photographs: Number = None


@dataclass(frozen=True)
class StrangerRecord:
    """What another network makes of the picture: its likeliest classes and their probabilities.

    `rank` is that of the unit's own class, from 1, among the network's `classes`; None where the
    unit or the network has no such class.
    """

    top: list[tuple[int | str, Number]] = field(default_factory=list)
    rank: int | None = None
    classes: int | None = None


@dataclass(frozen=True)
class PeopleRecord:
    """How people do with one kind of explanation: the share of right answers, with the 95 %
    interval of Wilson 1927, from so many answers of so many people.
    """

    accuracy: Number = None
    interval: tuple[Number, Number] = (None, None)
    answers: int = 0
    people: int = 0
    confidence: Number = None


@dataclass(frozen=True)
class EvidenceRecord:
    """All that says how far to believe a picture, and the word that sums it up.

    `votes` has what each kind of evidence that has something to say says: for or against.
    """

    word: str = PLAUSIBLE
    votes: dict[str, str] = field(default_factory=dict)
    observer: ObserverRecord | None = key(omitted=True)
    path: PathRecord | None = key(omitted=True)
    seeds: SeedsRecord | None = key(omitted=True)
    strangers: dict[str, StrangerRecord] | None = key(omitted=True)
    people: dict[str, PeopleRecord] | None = key(omitted=True)

    def tally(self) -> dict[str, float]:
        """The numbers of which run.json gives the mean: the words, and the observer's accuracy."""
        numbers = {f"evidence.{word}": float(word == self.word) for word in WORDS}
        if self.observer is not None:
            found = {
                "natural": self.observer.natural.accuracy,
                "synthetic": self.observer.synthetic.accuracy,
                "gap": self.observer.gap,
            }
            numbers |= {f"evidence.observer.{k}": v for k, v in found.items() if v is not None}
        for condition, record in (self.people or {}).items():
            if record.accuracy is not None:
                numbers[f"evidence.people.{condition}"] = record.accuracy
        return numbers
