"""The numbers of the embedded model, in the form of the released `config.json`.

Every mechanism of V4.1 occurs, and every block size divides. Rotary
bases are small because the model is: with the released ones a few channels would hardly turn
within the contexts that it is trained on.
"""

HIDDEN = 128


def is_prime(n):
    return n > 1 and all(n % d for d in range(2, int(n ** 0.5) + 1))


def engram_primes(text):
    """The moduli of each Engram layer: ascending primes from `engram_vocab_size`, none twice (`docs/models/deepseek-v41.md` §3.7)."""
    each = (text["engram_max_ngram_size"] - 1) * text["engram_n_heads"]
    candidate, layers = text["engram_vocab_size"] - 1, []
    for _ in text["engram_layer_ids"]:
        primes = []
        while len(primes) < each:
            candidate += 1
            if is_prime(candidate):
                primes.append(candidate)
        layers.append(primes)
    return layers


def config(ids, vocabulary, compressed):
    """The released form for a tokenizer.

    `ids` maps `bos`, `eos`, `pad`, `image`, `audio`, `video` and `noise` to token ids; `vocabulary`
    counts the tokens and `compressed` their compressed ids."""
    text = {
        "model_type": "deepseek_v41_text",
        "vocab_size": vocabulary,
        "hidden_size": HIDDEN,
        "num_hidden_layers": 6,
        "num_attention_heads": 4,
        "num_key_value_heads": 1,
        "head_dim": 64,
        "qk_rope_head_dim": 16,
        "q_lora_rank": 64,
        "o_groups": 2,
        "o_lora_rank": 64,
        "rms_norm_eps": 1e-6,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "hidden_act": "silu",
        "max_position_embeddings": 65536,
        "rope_theta": 500,
        "compress_rope_theta": 2000,
        "rope_scaling": None,
        "sliding_window": 32,
        # The last entry is the draft layer's.
        "compress_ratios": [0, 2, 2, 1, 1, 1, 0],
        "kv_source_layer_ids": [1, 3],
        "index_source_layer_ids": [1, 3, 5],
        "index_n_heads": 4,
        "index_head_dim": 32,
        "index_topk": 64,
        "candidate_source_layer_id": 3,
        "candidate_topk_blocks": 32,
        "candidate_block_size": 8,
        "hc_mult": 4,
        "hc_sinkhorn_iters": 20,
        "hc_eps": 1e-6,
        "moe_intermediate_size": 128,
        "n_routed_experts": 8,
        "n_shared_experts": 1,
        "num_experts_per_tok": 2,
        "scoring_func": "sqrtsoftplus",
        "topk_method": "noaux_tc",
        "norm_topk_prob": True,
        "routed_scaling_factor": 1.5,
        "swiglu_limit": 10.0,
        # Memory ends before the last layer that makes rows: a prompt may skip the layers after it.
        "engram_layer_ids": [1, 2],
        "engram_max_ngram_size": 4,
        "engram_vocab_size": 1021,
        "engram_n_heads": 2,
        "engram_head_dim": 32,
        "engram_pad_token_id": ids["pad"],
        "engram_compressed_vocab_size": compressed,
        "num_nextn_predict_layers": 1,
        "dspark_block_size": 4,
        "dspark_noise_token_id": ids["noise"],
        "dspark_target_layer_ids": [4, 5],
        "dspark_markov_rank": 16,
        "dspark_n_routed_experts": 4,
        "dspark_num_experts_per_tok": 1,
        "tie_word_embeddings": False,
    }
    text["engram_num_embeddings"] = [sum(primes) for primes in engram_primes(text)]
    return {
        "architectures": ["DeepseekV41ForCausalLM"],
        "model_type": "deepseek_v41",
        "dtype": "bfloat16",
        "bos_token_id": ids["bos"],
        "eos_token_id": ids["eos"],
        "pad_token_id": ids["pad"],
        "image_token_id": ids["image"],
        "audio_token_id": ids["audio"],
        "video_token_id": ids["video"],
        "tie_word_embeddings": False,
        "quantization_config": {
            "quant_method": "fp8",
            "activation_scheme": "dynamic",
            "weight_block_size": [32, 32],
            "scale_fmt": "ue8m0",
            "expert_dtype": "fp4",
        },
        "text_config": text,
        "vision_config": {
            "model_type": "deepseek_v41_vision",
            "num_hidden_layers": 3,
            "hidden_size": 128,
            "num_attention_heads": 4,
            "intermediate_size": 256,
            "patch_size": 14,
            "rope_theta": 10000,
            "downsample_ratio": 3,
            # 126 x 126 pixels: 3 x 3 features.
            "min_pixels": 15876,
            "max_image_tokens": 14,
            "max_wh_ratio": None,
        },
        "audio_config": {
            "kind": "whisper",
            "d_model": 128,
            "encoder_layers": 3,
            "encoder_attention_heads": 4,
            "encoder_ffn_dim": 512,
            "num_mel_bins": 80,
            "max_source_positions": 500,
            "chunk_seconds": 10,
            "pad_to_chunk": False,
            "keep_padding_tokens": False,
            "log_mel_max": 1.5,
            "pool": "stack4",
            "projector_bias": True,
        },
        "video_config": {
            "fps": 2.0,
            "min_frames": 2,
            "max_frames": 32,
            # 84 x 84 pixels: 2 x 2 features.
            "frame_max_tokens": 8,
            "frame_min_tokens": 8,
            "frame_min_pixels": 7056,
            "max_tokens": 512,
            "temporal_merge": 1,
            "segment_seconds": 2.0,
        },
    }


def of_tokenizer(tokens):
    """The config for `data.tokens.Tokens`."""
    from data import tokens as names
    spelled = {"bos": names.BOS, "eos": names.EOS, "pad": names.PAD, "image": names.IMAGE, "audio": names.AUDIO,
               "video": names.VIDEO, "noise": names.DRAFT_NOISE}
    ids = {name: tokens.marker[text] for name, text in spelled.items()}
    return config(ids, tokens.size, int(tokens.engram_ids.max()) + 1)
