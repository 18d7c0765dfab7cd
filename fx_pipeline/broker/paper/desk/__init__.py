"""The desk: a matching core without HTTP, clock or files; the account is a fold over its transactions."""

from fx_pipeline.broker.paper.desk.desk import Desk
from fx_pipeline.broker.paper.desk.draft import Batch
from fx_pipeline.broker.paper.desk.replies import Outcome
from fx_pipeline.broker.paper.desk.terms import InstrumentTerms, instrument_terms

__all__ = ["Batch", "Desk", "InstrumentTerms", "Outcome", "instrument_terms"]
