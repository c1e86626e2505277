"""Asking a language model, at any endpoint that speaks OpenAI's chat API. It has no tools and gives a typed answer; one that is
refused may be mended once. Heavy to import: only where a model is configured."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable
from functools import cache
from typing import TypeVar

import httpx
from openai import AsyncOpenAI, DefaultAsyncHttpxClient
from pydantic import BaseModel
from pydantic_ai import Agent, ModelRetry, PromptedOutput
from pydantic_ai.exceptions import AgentRunError, UnexpectedModelBehavior, UserError
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from pipeline.settings import Settings

log = logging.getLogger("leadtrail.summaries")
SECONDS = 60.0
Answer = TypeVar("Answer", bound=BaseModel)


class Unreachable(Exception):
    """It did not answer at all: it may, later."""


@cache
def _tls() -> ssl.SSLContext:
    """Made once: reading all authorities takes longer than many an answer."""
    return httpx.create_ssl_context()


def ask(
    settings: Settings,
    instructions: str,
    given: str,
    answer: type[Answer],
    *,
    about: str,
    most_tokens: int,
    refuse: Callable[[Answer], str] = lambda _: "",
) -> Answer | None:
    """None if it gave no answer of that type, or two that `refuse` names a fault of. `about` is for the log."""
    # one try each: what is asked here can be done without
    client = AsyncOpenAI(
        base_url=settings.ai_base_url,
        api_key=settings.ai_key or "none",
        max_retries=0,
        http_client=DefaultAsyncHttpxClient(verify=_tls(), timeout=SECONDS),
    )
    agent = Agent(
        OpenAIChatModel(settings.ai_model, provider=OpenAIProvider(openai_client=client)),
        output_type=PromptedOutput(answer),
        instructions=instructions,
        retries=1,
        model_settings={"temperature": 0, "timeout": SECONDS, "max_tokens": most_tokens},
    )

    @agent.output_validator
    def is_right(said: Answer) -> Answer:
        if fault := refuse(said):
            raise ModelRetry(fault)
        return said

    try:
        return agent.run_sync(given).output
    except UnexpectedModelBehavior:
        # its own words stay out of the log: they may say anything
        log.warning("%s: the model gave nothing that can be used.", about)
        return None
    except (AgentRunError, UserError, OSError, ValueError) as problem:
        log.warning("%s: the model gave no answer (%s).", about, type(problem).__name__)
        raise Unreachable from None
