#!/usr/bin/env python3
"""Golden sounds: a spoken sentence, resampled sounds, log-mel features, rows of small towers.

The sentence is spoken by the formant synthesiser that also speaks in training (xtask/train/data/speech.py):
nothing in these files is recorded, or comes from another synthesiser.

    pip install -r tests/oracle/requirements.txt -r tests/oracle/requirements-audio.txt
    pip install --no-deps torchaudio==2.11.0
    python tests/oracle/make_audio_golden.py tests/fixtures/audio

Noise can be made anew by its reader: sample i is the top 24 bits of i * 2654435761 modulo 2^32, over
2^23, less one, times a factor. torchaudio is the second opinion on the resampler.
"""
import json
import math
import os
import subprocess
import sys
import unittest.mock
import wave
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import torch

# The compiled parts of torchaudio want another torch; resampling does without them.
torch.version.cuda = None
import torchaudio
import transformers
from safetensors.numpy import save_file
from scipy.signal import resample as by_spectrum
from scipy.special import i0
from transformers import (Qwen2AudioEncoderConfig, VoxtralConfig, VoxtralEncoderConfig, WhisperConfig,
                          WhisperFeatureExtractor)
from transformers.models.qwen2_audio.modeling_qwen2_audio import Qwen2AudioEncoder
from transformers.models.voxtral.modeling_voxtral import VoxtralEncoder, VoxtralMultiModalProjector
from transformers.models.voxtral_realtime.feature_extraction_voxtral_realtime import (
    VoxtralRealtimeFeatureExtractor)
from transformers.models.whisper.modeling_whisper import WhisperEncoder

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "xtask/train"))
from data.speech import RATE as SPOKEN_AT, TEST_VOICES, word

SEED = 20
SENTENCE = "four white shapes go left"
SPEECH_RATE = 22050
RATES = [8000, 11025, 22050, 32000, 44100, 44101, 48000, 96000, 192000]
HIDDEN, LAYERS, HEADS, INNER, MELS, OUT, FRAMES = 64, 2, 4, 128, 80, 48, 3000


# One stereo sound in every container and codec: a file's name and what ffmpeg is told.
FILES = {
    "two.flac": [], "two.mp3": ["-b:a", "96k"], "two.mp2": [], "two.ogg": ["-c:a", "libvorbis"],
    "two.m4a": ["-b:a", "96k"], "two.alac.m4a": ["-c:a", "alac"], "two.mka": ["-c:a", "libvorbis"],
    "two.flac.mka": ["-c:a", "flac"], "two.caf": [], "two.aiff": [], "two.adpcm.wav": ["-c:a", "adpcm_ms"],
    # The same at another rate, in one channel; and in fewer bits, without a word on its length.
    "two.mono.mp3": ["-ac", "1", "-ar", "22050", "-b:a", "32k"],
    "two.bare.mp3": ["-b:a", "32k", "-write_xing", "0", "-id3v2_version", "0"],
    "two.aac": ["-b:a", "96k"], "two.opus": ["-c:a", "libopus", "-b:a", "32k"],
}


def noise(count, factor):
    at = np.arange(count, dtype=np.uint64)
    samples = ((at * 2654435761) & 0xFFFFFFFF) >> 8
    return ((samples.astype(np.float64) / 2**23 - 1) * factor).astype(np.float32)


def speak(path):
    """Writes the sentence as the synthesiser says it, and returns its samples and their rate."""
    pause = np.zeros(SPOKEN_AT // 20)
    spoken = [part for text in SENTENCE.split() for part in (pause, word(text, TEST_VOICES[1]))]
    spoken = np.concatenate([*spoken, pause])
    samples = by_spectrum(spoken, round(len(spoken) * SPEECH_RATE / SPOKEN_AT))
    samples = np.round(samples * 32767).clip(-32768, 32767).astype("<i2")
    with wave.open(path, "wb") as out:
        out.setparams((1, 2, SPEECH_RATE, len(samples), "NONE", ""))
        out.writeframes(samples.tobytes())
    return samples / 32768.0, SPEECH_RATE


def encode(folder):
    """Writes two tones, one in each channel, in every format: 0.3 seconds at 44.1 kHz, 16 bits."""
    at = np.arange(13230) / 44100
    both = np.stack([0.4 * np.sin(2 * np.pi * 440 * at), 0.3 * np.sin(2 * np.pi * 1000 * at)], 1)
    path = f"{folder}/two.wav"
    with wave.open(path, "wb") as out:
        out.setparams((2, 2, 44100, len(at), "NONE", ""))
        out.writeframes(np.round(both * 32767).astype("<i2").tobytes())
    ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-v", "error", "-bitexact", "-i", path, "-threads", "1"]
    for name, options in FILES.items():
        subprocess.run([*ffmpeg, *options, "-fflags", "+bitexact", f"{folder}/{name}"], check=True)


def resample(x, rate):
    """The closed form of docs/models/audio-video.md 2.2 in float64, output by output."""
    common = math.gcd(rate, 16000)
    o, n = rate // common, 16000 // common
    base = min(o, n) * 0.9475937167399596
    width = math.ceil(64 * o / base)
    padded = np.pad(np.asarray(x, np.float64), (width, width + o))
    count = -(-len(x) * n // o)
    k = np.arange(-width, width + o)
    out = np.empty(count)
    for p in range(min(n, count)):
        t = np.clip((-p / n + k / o) * base, -64, 64)
        taps = np.sinc(t) * i0(14.769656459379492 * np.sqrt(1 - (t / 64) ** 2)) / i0(14.769656459379492)
        taps *= base / o
        at = np.arange(p, count, n)
        for index, start in zip(at, (at - p) // n * o):
            out[index] = padded[start:start + len(k)] @ taps
    return out


def whisper(x, mels):
    extractor = WhisperFeatureExtractor(feature_size=mels)
    features = extractor._np_extract_fbank_features(np.asarray(x, np.float32)[None], "cpu")[0]
    other = extractor._torch_extract_fbank_features(np.asarray(x, np.float32))
    return features.T.astype(np.float32), float(np.abs(features - other).max())


def mel_fixtures(speech):
    def padded(count):
        return np.pad(speech, (0, count - len(speech)))

    second = np.arange(8000) / 16000
    sounds = {
        "speech": speech[: len(speech) // 1280 * 1280],
        "noise": noise(8000, 0.5),
        "tone": 0.5 * np.sin(2 * np.pi * 1000 * second),
        "silence": np.zeros(8000),
    }
    out, apart = {}, {}
    for name, sound in sounds.items():
        for mels in (80, 128):
            out[f"{name}.{mels}"], apart[f"{name}.{mels}"] = whisper(sound, mels)
    # The clip's own features, taken before it is cut into chunks.
    out["clip.80"], _ = whisper(padded(-(-len(speech) // 32000) * 32000), 80)
    realtime = VoxtralRealtimeFeatureExtractor()
    for name in ("speech", "noise"):
        sound = torch.from_numpy(np.asarray(sounds[name], np.float32)).double()
        # This extractor has no form in NumPy, whose 64 bits the other is judged by.
        torch.set_default_dtype(torch.float64)
        with unittest.mock.patch("torch.float32", torch.float64):
            features = realtime._torch_extract_fbank_features(sound)
        torch.set_default_dtype(torch.float32)
        out[f"fixed.{name}.128"] = features.numpy().T.astype(np.float32)
    return out, apart


def draw(module):
    """Weights that matter, unlike those of a fresh module. The positions stay."""
    for name, weight in module.named_parameters():
        if "embed_positions" in name:
            continue
        noise = torch.rand_like(weight) * 2 - 1
        if "layer_norm" in name and name.endswith("weight"):
            weight.data = 1 + 0.5 * noise
        elif weight.dim() == 1:
            weight.data = 0.3 * noise
        else:
            weight.data = 2.0 / weight[0].numel() ** 0.5 * noise


def tower_fixtures():
    torch.manual_seed(SEED)
    common = dict(num_mel_bins=MELS, max_source_positions=FRAMES // 2)
    plain = dict(d_model=HIDDEN, encoder_layers=LAYERS, encoder_attention_heads=HEADS, encoder_ffn_dim=INNER)
    encoder = WhisperEncoder(WhisperConfig(**plain, **common)).eval()
    draw(encoder)
    qwen = Qwen2AudioEncoder(Qwen2AudioEncoderConfig(**plain, **common)).eval()
    audio = VoxtralEncoderConfig(hidden_size=HIDDEN, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
                                 intermediate_size=4 * HIDDEN, **common)
    inner = dict(vars(audio), intermediate_size=INNER)
    voxtral = VoxtralEncoder(VoxtralEncoderConfig(**{k: inner[k] for k in (
        "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "num_mel_bins",
        "max_source_positions")})).eval()
    projector = VoxtralMultiModalProjector(
        VoxtralConfig(audio_config=audio.to_dict(), text_config={"model_type": "llama", "hidden_size": OUT, "num_attention_heads": 4}))
    draw(projector)
    linear = torch.nn.Linear(HIDDEN, OUT)
    draw(linear)
    qwen.load_state_dict(encoder.state_dict())
    voxtral.load_state_dict(encoder.state_dict())

    def project(x):
        return projector(x.reshape(-1, 4 * HIDDEN))

    def short(frames):
        config = WhisperConfig(**plain, **dict(common, max_source_positions=frames // 2))
        other = WhisperEncoder(config).eval()
        weights = dict(encoder.state_dict())
        weights["embed_positions.weight"] = weights["embed_positions.weight"][: frames // 2]
        other.load_state_dict(weights)
        features = torch.from_numpy(noise(frames * MELS, 1.5).reshape(frames, MELS).T[None].copy())
        return project(other(features).last_hidden_state)

    features = torch.from_numpy(noise(FRAMES * MELS, 1.5).reshape(FRAMES, MELS).T[None].copy())
    with torch.no_grad():
        rows = {
            "whisper.stack4": project(encoder(features).last_hidden_state),
            "voxtral.stack4": project(voxtral(features).last_hidden_state),
            "qwen2_audio.avg2": linear(qwen(features).last_hidden_state)[0],
            "short.80": short(80),
            "short.168": short(168),
        }
        apart = float((rows["whisper.stack4"] - rows["voxtral.stack4"]).abs().max())
        assert apart < 1e-5, apart
    del rows["whisper.stack4"]
    weights = {f"audio_tower.{k}": v for k, v in encoder.state_dict().items() if "embed_positions" not in k}
    weights |= {f"multi_modal_projector.{k}": v for k, v in projector.state_dict().items()}
    single = {f"multi_modal_projector.linear.{k}": v for k, v in linear.state_dict().items()}
    return [{k: v.detach().numpy().copy() for k, v in part.items()} for part in (weights, single, rows)]


def decibels(a, b):
    return float(20 * np.log10(np.sqrt(np.mean((a - b) ** 2)) / np.sqrt(np.mean(b**2))))


def main():
    folder = sys.argv[1]
    os.makedirs(folder, exist_ok=True)
    encode(folder)
    speech, rate = speak(f"{folder}/speech.wav")
    golden = {str(r): resample(noise(r // 8, 0.5), r) for r in RATES}
    golden["speech"] = resample(speech, rate)
    golden["speech.torchaudio"] = torchaudio.functional.resample(
        torch.from_numpy(speech), rate, 16000, lowpass_filter_width=64, rolloff=0.9475937167399596,
        resampling_method="sinc_interp_kaiser", beta=14.769656459379492).numpy()
    agree = decibels(golden["speech.torchaudio"], golden["speech"])
    save_file({k: v.astype(np.float32) for k, v in golden.items()}, f"{folder}/resample.safetensors")
    features, apart = mel_fixtures(golden["speech"].astype(np.float32))
    save_file({k: np.ascontiguousarray(v) for k, v in features.items()}, f"{folder}/mel.safetensors")
    for name, part in zip(("tower", "linear", "rows"), tower_fixtures()):
        save_file(part, f"{folder}/{name}.safetensors")
    meta = {
        "seed": SEED,
        "versions": {m.__name__: m.__version__ for m in (np, torch, torchaudio, transformers)},
        "ffmpeg": imageio_ffmpeg.get_ffmpeg_version(),
        "speech": {"text": SENTENCE, "rate": rate, "samples": len(speech)},
        "torchaudio_decibels": round(agree, 1),
        "mel_float32_apart": {k: float(f"{v:.2g}") for k, v in apart.items()},
        "tower": {"hidden": HIDDEN, "layers": LAYERS, "heads": HEADS, "inner": INNER, "mels": MELS,
                  "out": OUT, "frames": FRAMES},
    }
    with open(f"{folder}/meta.json", "w") as out:
        json.dump(meta, out, indent=1)
        out.write("\n")


if __name__ == "__main__":
    main()
