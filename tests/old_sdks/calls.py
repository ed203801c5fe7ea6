"""The drop-in calls of openai 1.x and anthropic 0.x; what each gave goes to standard output, as one JSON object.

Run beside those SDKs, which stand before today's on the path. A call that fails gives the class of its error and the code in it.
"""

from __future__ import annotations

import base64
import json
import os
import warnings
from collections.abc import Callable
from typing import Any

import anthropic
import openai

warnings.simplefilter("ignore")  # variations are deprecated

URL, ACME, UMBRELLA, PICTURE = (os.environ[name] for name in ("PHASEGATE_URL", "ACME", "UMBRELLA", "PICTURE"))
MODEL, CLAUDE, LLAMA, GROK = "gpt-image-2.6-flare", "claude-sonnet-5-5", "llama-3.2-90b-vision", "grok-4"
GPT: Any = openai.OpenAI(base_url=f"{URL}/v1", api_key=ACME)
CLIENT: Any = anthropic.Anthropic(base_url=URL, api_key=ACME)

image = ("one.png", base64.b64decode(PICTURE), "image/png")
picture = {"model": MODEL, "prompt": "a lighthouse", "size": "1024x1024", "quality": "low"}
source = {"type": "base64", "media_type": "image/png", "data": PICTURE}
message = {
    "model": CLAUDE,
    "max_tokens": 300,
    "messages": [
        {
            "role": "user",
            "content": [{"type": "image", "source": source}, {"type": "text", "text": "What is this?"}],
        }
    ],
}
parts = [
    {"type": "text", "text": "What is this?"},
    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PICTURE}"}},
]
question = {"max_tokens": 300, "messages": [{"role": "user", "content": parts}]}
streamed = {"stream": True, "stream_options": {"include_usage": True}}


def attempt(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except (openai.APIError, anthropic.APIError) as error:
        body: Any = error.body
        code = error.code if isinstance(error, openai.APIError) else body["error"]["details"]["error_code"]
        return {"error": type(error).__name__, "code": code}


def final_message() -> str:
    with CLIENT.messages.stream(**message) as stream:
        return str(stream.get_final_message().content[0].text)


def broken(route: str, body: dict[str, Any]) -> list[Any]:
    if route == "messages":
        return list(CLIENT.messages.create(**body))
    if route == "generate":
        return list(GPT.images.generate(**body))
    if route == "edit":
        return list(GPT.images.edit(**body, image=image))
    return list(GPT.chat.completions.create(**body))


CALLS: dict[str, Callable[[], Any]] = {
    "generate": lambda: len(GPT.images.generate(**picture, n=2).data),
    "generate, streamed": lambda: [
        event.type for event in GPT.images.generate(**picture, stream=True, partial_images=1)
    ],
    "edit": lambda: len(GPT.images.edit(**picture, image=[image, image]).data),
    "edit, streamed": lambda: [event.type for event in GPT.images.edit(**picture, image=image, stream=True)],
    "message": lambda: CLIENT.messages.create(**message, temperature=0.5).content[0].text,
    "message, raw events": lambda: [event.type for event in CLIENT.messages.create(**message, stream=True)][
        -1
    ],
    "message, streamed": final_message,
    "tokens": lambda: CLIENT.messages.count_tokens(model=CLAUDE, messages=message["messages"]).input_tokens,
    **{
        f"{model}": lambda model=model: (
            GPT.chat.completions.create(model=model, **question).choices[0].message.content
        )
        for model in (LLAMA, GROK)
    },
    "chat, streamed": lambda: [
        [chunk.usage.completion_tokens > 0 if chunk.usage else None, len(chunk.choices)]
        for chunk in GPT.chat.completions.create(model=GROK, **question, **streamed)
    ][-1],
    "moderations": lambda: [
        len(GPT.moderations.create(input=given).results) for given in ("a fox", ["a fox", "a dog"], parts)
    ],
    "models": lambda: [
        GPT.models.retrieve(GROK).id in {model.id for model in GPT.models.list()},
        CLIENT.models.retrieve(CLAUDE).id in {model.id for model in CLIENT.models.list()},
    ],
    "variation": lambda: GPT.images.create_variation(image=image),
    "files": lambda: list(GPT.files.list()),
    "batches": lambda: list(GPT.batches.list()),
    "message batches": lambda: list(CLIENT.messages.batches.list()),
    "message files": lambda: list(CLIENT.beta.files.list()),
    "used up": lambda: GPT.with_options(api_key=UMBRELLA).images.generate(**picture),
}

results: dict[str, Any] = {"versions": [openai.__version__, anthropic.__version__]}
results |= {name: attempt(call) for name, call in CALLS.items()}
results["broken"] = {
    route: {
        fault: attempt(lambda route=route, body=body: broken(route, body)) for fault, body in rows.items()
    }
    for route, rows in json.loads(os.environ["BODIES"]).items()
}
print(json.dumps(results))
