"""What the words of a token meter say: the model, and what is done with its tokens (FOCUS working draft)."""

import re
from dataclasses import dataclass
from typing import Final

_MODEL: Final = re.compile(
    r"(?i)\b((?:gpt|text-embedding|davinci|babbage|ada|dall-e|whisper|tts|sora|o[1-9]|phi|llama|mistral|codestral|"
    r"deepseek|gemini|gemma|imagen|veo|qwen|grok|claude|command|jamba|embed|cohere)[a-z0-9]*"
    r"(?:[-. ](?:[0-9][a-z0-9.]*|mini|nano|turbo|large|small|medium|pro|flash|lite|realtime|audio|hd|instruct|opus|"
    r"sonnet|haiku|scout|maverick|r1|v3|ada|preview|coder?|chat|r|plus))*)"
)


@dataclass(frozen=True)
class TokenWords:
    """A provider's words for what is done with tokens; output wins over input, reading over writing."""

    output: re.Pattern[str]
    input: re.Pattern[str]
    cache_read: re.Pattern[str]
    cache_write: re.Pattern[str] | None = None

    def said(self, words: str) -> dict[str, str]:
        """Return what words say: TokenDirection, TokenCacheAction.

        Nulls: a key is absent where the words do not say it.
        """
        said = {}
        if self.output.search(words):
            said["TokenDirection"] = "Output"
        elif self.input.search(words):
            said["TokenDirection"] = "Input"
        if self.cache_read.search(words):
            said["TokenCacheAction"] = "Read"
        elif self.cache_write is not None and self.cache_write.search(words):
            said["TokenCacheAction"] = "Write"
        return said


_WORDS: Final = TokenWords(
    output=re.compile(r"(?i)\b(output|outp|outpt|opt|out|completion|completions|generated)\b"),
    input=re.compile(r"(?i)\b(input|inp|inpt|in|prompt|cached|cchd)\b"),
    cache_read=re.compile(r"(?i)\b(cached|cchd|cache)\b"),
)


def model_and_tokens(words: str) -> dict[str, str]:
    """Return what a meter's words say in plain language, as Azure and Google write them: ModelId and its tokens.

    Nulls: a key is absent where the words do not say it; empty where they name no model.
    """
    found = _MODEL.search(words)
    return {"ModelId": re.sub(r"\s+", "-", found[1].strip().lower()), **_WORDS.said(words)} if found else {}
