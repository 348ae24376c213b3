"""A causal language model as the trainer sees it: a batch in, the summed weighted nll out.

Shape legend: B rows, T inputs, D hidden size, N supervised positions.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from codeblock.core.errors import CodeBlockError
from codeblock.core.models.attention import attention_of_any_shape
from codeblock.core.models.causal import LogitHead, decoder_of, evaluation_mode, logit_head, probe_ids, tolerance
from codeblock.train.batches import MicroBatch
from codeblock.train.last_layer import sparse_last_layer
from codeblock.train.loss import sparse_cross_entropy, token_nll

if TYPE_CHECKING:
    from codeblock.core.config import LoraConfig


SPARSE_SHARE = 0.3
"""With more supervised positions in a row, the last layer's causal kernel, which needs no mask, is faster."""


class MaskedLM(nn.Module):
    """Wraps a Hugging Face causal model, or one with PEFT adapters. Its forward pass is what DDP synchronises.

    dtype: "bfloat16" runs the forward pass under autocast; the loss is float32 either way.
    last_layer: compute the last layer at supervised positions only, where its architecture is known.

    Raises CodeBlockError for a model whose logits cannot be made at chosen positions alone (`causal.logit_head`).
    """

    def __init__(self, model: Any, dtype: str = "float32", last_layer: bool = True) -> None:
        super().__init__()
        self.model = model
        self._dtype = getattr(torch, dtype)
        self._head = logit_head(model)
        self._last_layer = sparse_last_layer(self.decoder) if last_layer else None

    @property
    def causal(self) -> Any:
        """The causal model, with adapters in place but without PEFT's wrapper."""
        return self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model

    @property
    def decoder(self) -> Any:
        return self._head.decoder

    @property
    def head(self) -> LogitHead:
        """From hidden states to logits, with what the model does to them."""
        return self._head

    @torch.no_grad()
    def packs(self) -> bool:
        """Whether pairs in one row, with positions that begin anew, are kept apart: a recurrent state, or an attention that
        reads no positions, goes on from one pair into the next."""
        ids_BT = probe_ids(self.model)
        restart_1T = torch.arange(ids_BT.shape[1], device=ids_BT.device).repeat(2)[None]
        with evaluation_mode(self):
            try:
                packed_TD = self._body(ids_BT.view(1, -1), restart_1T)[0]
            except TypeError:  # this decoder takes no positions
                return False
            alone_TD = self._body(ids_BT, None).flatten(0, 1)
        return bool(((packed_TD - alone_TD).abs() <= tolerance(alone_TD)).all())

    def forward(self, batch: MicroBatch) -> Tensor:
        """The scalar `sum(w * nll)` of a micro-batch."""
        with self._autocast(batch):
            return sparse_cross_entropy(self.hidden(batch), self.head, batch.targets_N, batch.weights_N)

    @torch.no_grad()
    @attention_of_any_shape()
    def nll(self, batch: MicroBatch) -> Tensor:
        """The nll [N] of each target of a micro-batch, without gradients."""
        with self._autocast(batch):
            return token_nll(self.hidden(batch), self.head, batch.targets_N)

    def hidden(self, batch: MicroBatch) -> Tensor:
        """Hidden states [N, D] at the positions that predict a supervised token."""
        sparse = self._last_layer
        if sparse is None or batch.most > SPARSE_SHARE * batch.input_ids_BT.shape[1]:
            return self._body(batch.input_ids_BT, batch.position_ids_BT).flatten(0, 1)[batch.index_N]
        sparse.begin(batch.index_N, batch.most)
        try:
            return self._body(batch.input_ids_BT, batch.position_ids_BT)[0]
        finally:
            sparse.end()

    def _body(self, input_ids_BT: Tensor, position_ids_BT: Tensor | None) -> Tensor:
        # No attention mask: with one, transformers no longer tells packed sequences apart by their positions.
        positions = {} if position_ids_BT is None else {"position_ids": position_ids_BT}
        output = self.decoder(input_ids=input_ids_BT, use_cache=False, **positions)
        hidden: Tensor = output.last_hidden_state
        return hidden

    def _autocast(self, batch: MicroBatch) -> torch.autocast:
        return torch.autocast(batch.input_ids_BT.device.type, dtype=torch.bfloat16, enabled=self._dtype is torch.bfloat16)


def add_lora(model: Any, config: LoraConfig, revision: str | None = None) -> Any:
    """The model with new low-rank adapters, everything else frozen. The output head gets none.

    Raises CodeBlockError where `target_modules` names no layer of the model, or the head.
    """
    import peft

    targets = config.target_modules
    head = next((name for name, module in model.named_modules() if module is model.get_output_embeddings()), "lm_head")
    if head in targets:
        raise CodeBlockError(f"train.lora.target_modules: {head} is the output head; name layers of the body only")
    settings = peft.LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        target_modules=targets,
        task_type="CAUSAL_LM",
        revision=revision,
    )
    try:
        with warnings.catch_warnings():  # it asks for this by a name that transformers has deprecated
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
            return peft.get_peft_model(model, settings)
    except ValueError as error:
        raise CodeBlockError(f"train.lora.target_modules={targets}: {str(error).splitlines()[0][:200]}") from error


def freeze_other_parts(model: Any) -> None:
    """Train nothing that text does not go through: the image and sound parts of a composite model.

    They would have no gradient, for which the other workers of a fit would wait.
    """
    config = model.config
    if config.get_text_config(decoder=True) is config:
        return
    used = {id(weight) for part in (decoder_of(model), model.get_output_embeddings()) for weight in part.parameters()}
    for weight in model.parameters():
        weight.requires_grad_(id(weight) in used)


def checkpoint_activations(model: Any) -> None:
    """Recompute activations in the backward pass. Call it before wrapping the model in `MaskedLM`."""
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
