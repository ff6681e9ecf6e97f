"""BLIP-2 behind Gradio, as its guides write a demo that streams: what crowd.py compares Glimpse with.

    python benches/gradio_demo.py --port 7861

transformers generates in a thread, and a TextIteratorStreamer gives the answer word by word.
"""

import argparse
import os
from pathlib import Path
from threading import Thread

import gradio
import torch
from transformers import Blip2ForConditionalGeneration, Blip2Processor, TextIteratorStreamer

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path(__file__).resolve().parent.parent / "demo-model")
    parser.add_argument("--dtype", choices=DTYPES, default="f32")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--concurrency", type=int, default=1, help="answers at the same time; Gradio's default is 1")
    parser.add_argument("--tokens", type=int, help="exactly so many in an answer")
    parser.add_argument("--port", type=int, default=7860)
    return parser.parse_args()


def main():
    options = arguments()
    dtype = DTYPES[options.dtype]
    torch.set_num_threads(options.threads)
    processor = Blip2Processor.from_pretrained(options.model)
    model = Blip2ForConditionalGeneration.from_pretrained(options.model, dtype=dtype).eval()
    length = {"min_new_tokens": options.tokens, "max_new_tokens": options.tokens} if options.tokens else {}

    def answer(picture, question):
        prompt = f"Question: {question} Answer:"
        inputs = processor(images=picture, text=prompt, return_tensors="pt").to(dtype=dtype)
        streamer = TextIteratorStreamer(processor.tokenizer, skip_prompt=True, skip_special_tokens=True)
        generating = Thread(target=model.generate, kwargs={**inputs, **length, "streamer": streamer})
        generating.start()
        text = ""
        for piece in streamer:
            text += piece
            yield text
        generating.join()

    demo = gradio.Interface(
        answer,
        [gradio.Image(type="pil", label="Picture"), gradio.Textbox(label="Question")],
        gradio.Textbox(label="Answer"),
        api_name="answer",
        concurrency_limit=options.concurrency,
        flagging_mode="never",
    )
    demo.launch(server_name="127.0.0.1", server_port=options.port, quiet=True)


if __name__ == "__main__":
    main()
