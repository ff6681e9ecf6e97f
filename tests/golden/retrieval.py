"""Golden checkpoints of BLIP-2's matching head, `Blip2ForImageTextRetrieval`.

Facts about the reference that the files here depend on, read in its source and confirmed by making
them:

- Matching (ITM) is the mean of the logits over the query tokens; the softmax is the caller's.
- Contrast (ITC) is the largest product of the text's first row with the picture's rows, all of length 1.
- Where the config names the picture's token, the first ids are cut off, and the mask counts them; where
  it names none, plain ids are taken. Both give the same numbers for the same text.
- `use_qformer_text_input` must be true; the hub's first files call it `qformer_text_input`, which the
  reference does not read any more. The tensors tell it as well.
"""

import random
import shutil
import warnings
from pathlib import Path

import torch
import transformers
from transformers import (
    Blip2Config,
    Blip2ForImageTextRetrieval,
    Blip2Processor,
    Blip2QFormerConfig,
    Blip2VisionConfig,
)

import checkpoints
from checkpoints import QUESTION, RAW, Reference, Shape, edit, fill, sample, write_expected
from instruct import bert_tokenizer

COUNT = 8
TEXTS = [QUESTION, "a photo of a small dog on the beach", RAW, "Two cats!"]


class RetrievalShape(Shape):
    def qformer(self, dice):
        settings = super().qformer(dice)
        return settings | {
            "max_position_embeddings": [64, 48, 512, 80][self.number % 4],
            "use_qformer_text_input": True,
            "pad_token_id": 0,
        }

    def build(self, dice, generator, words, vocabulary):
        config = Blip2Config(
            vision_config=Blip2VisionConfig(**self.vision(dice)).to_dict(),
            qformer_config=Blip2QFormerConfig(**self.qformer(dice), vocab_size=vocabulary).to_dict(),
            num_query_tokens=self.query_tokens,
            image_text_hidden_size=dice.randint(5, 40),
            image_token_index=words.convert_tokens_to_ids("<image>") if self.number % 2 == 0 else None,
        )
        model = Blip2ForImageTextRetrieval(config).eval()
        with torch.no_grad():
            fill(model, self, generator)
        return model

    def tokenizer(self, dice):
        words = bert_tokenizer(dice, lower=self.number % 4 != 3)
        # Blip2Processor adds it where a tokenizer has none.
        words.add_tokens([transformers.AddedToken("<image>", normalized=False, special=True)], special_tokens=True)
        return words


class RetrievalReference(Reference):
    model_class, processor_class = Blip2ForImageTextRetrieval, Blip2Processor

    def scores(self, pixel_values, text):
        """What is written of a text, and its margin: how near to even the verdict is."""
        ids = self.processor.tokenizer(text, return_token_type_ids=False)["input_ids"]
        token = self.model.config.image_token_index
        given = ids if token is None else [token] * self.model.config.num_query_tokens + ids
        inputs = {"pixel_values": pixel_values, "input_ids": torch.tensor([given])}
        inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
        matched = self.model(**inputs, use_image_text_matching_head=True).logits_per_image[0]
        compared = self.model(**inputs, use_image_text_matching_head=False)
        return {
            "text": text,
            "ids": ids,
            "logits": matched.tolist(),
            "probability": matched.softmax(-1)[1].item(),
            "cosine": compared.logits_per_image[0, 0].item(),
        }, compared


def expected(folder, names):
    reference = RetrievalReference(folder)
    pictures, tensors, scores = [], {}, []
    with torch.inference_mode():
        for index, name in enumerate(names):
            inputs, _ = reference.picture(name)
            pictures.append({"file": name, "checksum": checkpoints.checksum(inputs["pixel_values"])})
            for number, text in enumerate(TEXTS):
                score, compared = reference.scores(inputs["pixel_values"], text)
                scores.append({"picture": index} | score)
                tensors[f"text_features-{number}"] = compared.text_embeds[0].clone()
            tensors[f"picture_features-{index}"] = sample(compared.image_embeds)
            if index == 0:
                tensors["image_embeds"] = sample(compared.vision_model_output[0])
    return {"pictures": pictures, "scores": scores}, tensors


def attempt(folder, number, seed, try_number):
    dice = random.Random(f"retrieval-{seed}-{number}-{try_number}")
    generator = torch.Generator().manual_seed(dice.getrandbits(32))
    shape = RetrievalShape(number, dice)
    words = shape.tokenizer(dice)
    model = shape.build(dice, generator, words, len(words))
    processor = Blip2Processor(checkpoints.image_processor(shape, dice), words, num_query_tokens=shape.query_tokens)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    model.to(shape.stored).save_pretrained(folder, max_shard_size="60KB" if shape.sharded else "1GB")
    processor.save_pretrained(folder)
    edit(folder / "config.json", lambda config: as_on_the_hub(config, number))
    if shape.legacy:
        checkpoints.split_processor(folder)
    result, tensors = expected(folder, checkpoints.draw_pictures(folder, number, seed))
    probabilities = [score["probability"] for score in result["scores"]]
    if len({round(probability, 3) for probability in probabilities}) < len(probabilities):
        return "two scores are the same"
    if number % 4 == 1:
        edit(folder / "config.json", older_key)
    if number % 4 == 3:
        edit(folder / "config.json", lambda config: config.pop("architectures"))
    write_expected(folder, result, tensors)
    print(f"{folder.name}: probabilities from {min(probabilities):.4f} to {max(probabilities):.4f}", flush=True)
    return None


def as_on_the_hub(config, number):
    """-coco has no language model in its config; the other one's plays no part."""
    if number % 2 == 1:
        config.pop("text_config")


def older_key(config):
    """Last, since the reference does not know it."""
    qformer = config["qformer_config"]
    qformer["qformer_text_input"] = qformer.pop("use_qformer_text_input")


def write(out: Path, seed: int, first: int, count: int):
    """Writes the folders from `first` to `count`; tries again where a result would test little."""
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    for number in range(first, count):
        folder = out / f"{number:02}"
        for try_number in range(50):
            reason = attempt(folder, number, seed, try_number)
            if reason is None:
                break
            print(f"{folder.name}: again, {reason}", flush=True)
        else:
            raise SystemExit(f"no usable checkpoint {number} in 50 tries; choose another seed")
