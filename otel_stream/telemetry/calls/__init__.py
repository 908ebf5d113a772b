"""Calls of models, tools and retrievers as spans, log events and measurements."""
