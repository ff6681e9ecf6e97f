"""Times the reference, transformers, for compare.py: one JSON line for loading, then one an answer.

Every picture is asked about twice. The reference begins anew each time, as its `generate` does.
"""

import argparse
import json
import time
from pathlib import Path

import torch
from PIL import Image
from transformers import Blip2ForConditionalGeneration, LogitsProcessorList, PreTrainedTokenizerFast
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}


class Clock:
    """When the parts of a model began and ended."""

    def __init__(self, model, device):
        self.device = device
        self.model_steps = []
        model.vision_model.register_forward_pre_hook(lambda *_: self.mark("picture begins"))
        model.language_projection.register_forward_hook(lambda *_: self.mark("picture ends"))
        self.marks = {}

    def __call__(self, ids, scores):
        """As a logits processor, behind each step: no hook may be on what is compiled."""
        self.model_steps.append(self.now())
        return scores

    def now(self):
        if self.device != "cpu":
            torch.cuda.synchronize()
        return time.perf_counter() * 1e3

    def mark(self, name):
        self.marks[name] = self.now()

    def parts(self, start, end):
        """Milliseconds of a whole answer's parts; the picture's begin with its pixels."""
        prefill, *steps = self.model_steps
        return {"image": self.marks["picture ends"] - start, "prefill": prefill - self.marks["picture ends"],
                "token": (steps[-1] - prefill) / len(steps) if steps else 0.0, "answer": end - start}


@torch.inference_mode()
def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=DTYPES, default="f32")
    parser.add_argument("--compiled", action="store_true", help="a static cache, and on a GPU torch.compile's step")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=10)
    parser.add_argument("--questions", nargs=2, required=True)
    parser.add_argument("--pictures", nargs="+", required=True)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    start = time.perf_counter()
    model = Blip2ForConditionalGeneration.from_pretrained(options.model, dtype=DTYPES[options.dtype])
    model = model.to(options.device).eval()
    processor = BlipImageProcessorPil.from_pretrained(options.model)
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(options.model / "tokenizer.json"))
    device = "CPU" if options.device == "cpu" else torch.cuda.get_device_name()
    print(json.dumps({"load": (time.perf_counter() - start) * 1e3, "device": device}), flush=True)

    clock = Clock(model, options.device)
    # With a static cache `generate` compiles the step by itself, on devices where it can.
    options_of_run = {"cache_implementation": "static"} if options.compiled else {}
    image_tokens = [model.config.image_token_index] * model.config.num_query_tokens
    for path in options.pictures:
        for question in options.questions:
            picture = Image.open(path).convert("RGB")
            clock.model_steps.clear()
            start = clock.now()
            pixels = processor(picture, return_tensors="pt").pixel_values.to(options.device, DTYPES[options.dtype])
            ids = torch.tensor([image_tokens + tokenizer(f"Question: {question} Answer:").input_ids], device=options.device)
            model.generate(pixel_values=pixels, input_ids=ids, max_new_tokens=options.tokens, min_new_tokens=options.tokens,
                           logits_processor=LogitsProcessorList([clock]), **options_of_run)
            print(json.dumps(clock.parts(start, clock.now())), flush=True)


if __name__ == "__main__":
    main()
