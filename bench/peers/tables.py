"""What the peer keeps: the notes, and a line for each answer."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, DateTime, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """All tables of the peer."""


class Note(Base):
    """A promissory note."""

    __tablename__ = "note"

    serial: Mapped[str] = mapped_column(String(16), primary_key=True)
    state: Mapped[str] = mapped_column(String(20))
    obligor_id: Mapped[str] = mapped_column(String(12))
    holder_id: Mapped[str] = mapped_column(String(12))
    amount_rials: Mapped[int] = mapped_column(BigInteger)


class Audit(Base):
    """Who was told what, and when."""

    __tablename__ = "audit"

    inquiry_id: Mapped[UUID] = mapped_column(primary_key=True)
    answered_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    serial: Mapped[str] = mapped_column(String(16))
    obligor_id: Mapped[str] = mapped_column(String(12))
    beneficiary_id: Mapped[str] = mapped_column(String(12))
    amount_rials: Mapped[int] = mapped_column(BigInteger)
    answer: Mapped[str] = mapped_column(String(3))
