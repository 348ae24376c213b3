"""Tiny random models of many families, made from transformers' own classes; what they do after the head is switched on."""

from __future__ import annotations

from typing import Any

import torch
import transformers

VOCABULARY = 120
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
HEADS_ALIKE = {key: value for key, value in SIZES.items() if key != "num_key_value_heads"}
EXPERTS = {"num_local_experts": 4, "num_experts": 4, "num_experts_per_tok": 2}
LATENT = {"q_lora_rank": 8, "kv_lora_rank": 8, "qk_nope_head_dim": 8, "qk_rope_head_dim": 8, "v_head_dim": 8}
NO_DROPOUT = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
GPT2 = {"vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128, "bos_token_id": 1, **NO_DROPOUT}

FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", SIZES),
    "llama tied": ("Llama", {**SIZES, "tie_word_embeddings": True}),
    "qwen2": ("Qwen2", SIZES),
    "qwen3": ("Qwen3", {**SIZES, "head_dim": 8}),
    "qwen3 experts": ("Qwen3Moe", {**SIZES, **EXPERTS, "head_dim": 8, "moe_intermediate_size": 16}),
    "mistral, sliding": ("Mistral", {**SIZES, "sliding_window": 6}),
    "mixtral": ("Mixtral", {**SIZES, **EXPERTS}),
    "granite, divided": ("Granite", {**SIZES, "logits_scaling": 8.0, "residual_multiplier": 0.5, "embedding_multiplier": 3.0}),
    "granite experts": ("GraniteMoe", {**SIZES, **EXPERTS, "logits_scaling": 6.0}),
    "granite shared experts": ("GraniteMoeShared", {**SIZES, **EXPERTS, "logits_scaling": 6.0, "shared_intermediate_size": 16}),
    "cohere, multiplied": ("Cohere", {**SIZES, "logit_scale": 0.0625}),
    "cohere2, multiplied": ("Cohere2", {**SIZES, "logit_scale": 0.25, "sliding_window": 6}),
    "hyperclovax, multiplied": ("HyperCLOVAX", {**SIZES, "logits_scaling": 0.2}),
    "minicpm3, hidden divided": ("MiniCPM3", {**HEADS_ALIKE, **LATENT, "num_key_value_heads": 4, "dim_model_base": 8}),
    "gemma": ("Gemma", {**SIZES, "head_dim": 8}),
    "gemma2, capped": ("Gemma2", {**SIZES, "head_dim": 8, "final_logit_softcapping": 2.0, "sliding_window": 6}),
    "gemma3": ("Gemma3", {**SIZES, "head_dim": 8}),
    "gemma3, capped": ("Gemma3", {**SIZES, "head_dim": 8, "final_logit_softcapping": 2.0}),
    "nanochat, capped": ("NanoChat", {**SIZES, "final_logit_softcapping": 2.0}),
    "phi, with a bias": ("Phi", {**SIZES, "resid_pdrop": 0.0, "embd_pdrop": 0.0}),
    "phi3": ("Phi3", {**SIZES, "resid_pdrop": 0.0}),
    "stablelm": ("StableLm", SIZES),
    "starcoder2": ("Starcoder2", {**SIZES, "residual_dropout": 0.0, "embedding_dropout": 0.0}),
    "olmo2": ("Olmo2", SIZES),
    "nemotron": ("Nemotron", SIZES),
    "deepseek 3": ("DeepseekV3", {**HEADS_ALIKE, **LATENT, "num_key_value_heads": 4, "n_routed_experts": 4, "n_group": 2,
                                  "topk_group": 1, "num_experts_per_tok": 2, "first_k_dense_replace": 1,
                                  "moe_intermediate_size": 16}),
    "gpt-neox": ("GPTNeoX", HEADS_ALIKE),
    "gpt2": ("GPT2", GPT2),
    "gpt-j, with a bias": ("GPTJ", {**GPT2, "rotary_dim": 8}),
    "gpt-bigcode": ("GPTBigCode", GPT2),
    "falcon": ("Falcon", HEADS_ALIKE),
    "falcon h1, multiplied": ("FalconH1", {**SIZES, "lm_head_multiplier": 0.3, "mamba_d_ssm": 64, "mamba_n_heads": 4,
                                           "mamba_d_head": 16, "mamba_d_state": 8, "mamba_n_groups": 1}),
    "mpt": ("Mpt", {"vocab_size": VOCABULARY, "d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": 128}),
    "bloom": ("Bloom", {"vocab_size": VOCABULARY, "hidden_size": 32, "n_layer": 2, "n_head": 4}),
    "opt": ("OPT", {**HEADS_ALIKE, "ffn_dim": 48, "word_embed_proj_dim": 16, "dropout": 0.0}),
    "recurrent gemma, capped": ("RecurrentGemma", {**SIZES, "num_hidden_layers": 3, "num_key_value_heads": 1, "lru_width": 32,
                                                   "logits_soft_cap": 2.0, "attention_window_size": 16}),
    "mamba": ("Mamba", {"vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 8}),
    "modernbert decoder, a layer before the head": ("ModernBertDecoder", {**HEADS_ALIKE, "decoder_bias": True}),
    "inkling, padded vocabulary": ("InklingText", {**SIZES, "head_dim": 8, "unpadded_vocab_size": 110}),
}  # fmt: skip
NOT_PACKED = {
    *("falcon h1, multiplied", "recurrent gemma, capped", "mamba"),  # a state that goes on
    *("mpt", "bloom", "inkling, padded vocabulary"),  # distances between tokens, no positions
    *("falcon", "opt"),  # positions that the attention's mask does not read
}
"""Families in which pairs of one row would see each other."""


def tiny_model(family: str, dtype: torch.dtype = torch.float32, spread: float = 4.0) -> Any:
    """A random model; its weights are spread, so that its logits are large enough for a cap to show."""
    name, settings = FAMILIES[family]
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}TextConfig" if name == "Gemma3" else f"{name}Config")(**settings)
    model = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.mul_(spread)
    return model.to(dtype).eval()
