"""The reference's own agreement of bf16 with f32, on the texts that the agreement benchmark kept.

    python benches/agreement.py MODEL TEXTS.jsonl
"""

import argparse
import json
from pathlib import Path

import torch
from PIL import Image
from transformers import Blip2ForConditionalGeneration
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil


@torch.inference_mode()
def likeliest(folder, texts, dtype):
    """The likeliest token at each of the answers' places."""
    model = Blip2ForConditionalGeneration.from_pretrained(folder, dtype=dtype).eval()
    processor = BlipImageProcessorPil.from_pretrained(folder)
    found = []
    for text in texts:
        picture = Image.open(text["picture"]).convert("RGB")
        pixels = processor(picture, return_tensors="pt").pixel_values.to(dtype)
        logits = model(pixel_values=pixels, input_ids=torch.tensor([text["ids"][:-1]])).logits[0]
        found += logits[text["prompt"] - 1:].argmax(-1).tolist()
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("texts", type=Path)
    options = parser.parse_args()
    texts = [json.loads(line) for line in options.texts.read_text().splitlines()]
    exact, rounded = (likeliest(options.model, texts, dtype) for dtype in (torch.float32, torch.bfloat16))
    same = sum(a == b for a, b in zip(exact, rounded))
    print(f"reference, bf16 {100 * same / len(exact):6.2f} % ({same} of {len(exact)} tokens)")


if __name__ == "__main__":
    main()
