"""How many documents and bytes a corpus may hold."""

from __future__ import annotations

from dataclasses import dataclass, field

from revlm.config import CorpusConfig
from revlm.errors import UserError

CAPS = ("max_bytes_per_domain", "max_bytes", "max_documents", "without_bytes_per_domain")


@dataclass
class Caps:
    """Which documents still fit, asked for one document after the other."""

    config: CorpusConfig
    documents: int = 0
    bytes: int = 0
    domain_bytes: dict[str, int] = field(default_factory=dict)
    full_domains: set[str] = field(default_factory=set)
    full: bool = False
    # What data.without_bytes_per_domain leaves out.
    others: Caps | None = None

    def __post_init__(self) -> None:
        for name in CAPS:
            value = getattr(self.config, name)
            if value is not None and value < 1:
                raise UserError(
                    f"data.{name}={value} keeps nothing: set it to 1 or more, or to null for all."
                )
        if self.config.without_bytes_per_domain is not None:
            self.others = Caps(CorpusConfig(max_bytes_per_domain=self.config.without_bytes_per_domain))

    @property
    def any(self) -> bool:
        """Whether anything is capped."""
        return any(getattr(self.config, name) is not None for name in CAPS)

    def admit(self, domain: str, size: int) -> bool:
        """Whether to keep the next document; the first that would pass a cap closes it.

        A document larger than a cap by itself is passed over and closes nothing, or one giant could
        empty a corpus.

        Args:
            domain: of the document.
            size: of its text in UTF-8 bytes.
        """
        if self.others is not None and self.others.admit(domain, size):
            return False
        per_domain, total = self.config.max_bytes_per_domain, self.config.max_bytes
        if size > min(per_domain or size, total or size) or self.full or domain in self.full_domains:
            return False
        used = self.domain_bytes.get(domain, 0)
        if per_domain is not None and used + size > per_domain:
            self.full_domains.add(domain)
            return False
        if total is not None and self.bytes + size > total:
            self.full = True
            return False
        self.domain_bytes[domain] = used + size
        self.bytes += size
        self.documents += 1
        self.full = self.documents == self.config.max_documents
        return True
