"""`stage=pretrain`: GPT-2, OLMo and other decoders of Transformers from scratch, on one process or many ranks.

`continual_pretrain/` and `sft/` train in here, too, from a base or on conversations.

stage.py         plan and report, as every stage has them; estimate.py: what a dry run says of the cost
launch.py        one process as it is, or ranks with torch's elastic launcher; worker.py is what a rank runs
loop.py          the steps: batches, loss, clipping, validation, checkpoints
models.py        fresh models; base.py: those that are there
language_model.py  their loss; weights.py: where weights lie, alone and with FSDP2
data.py          sequences of the memory-mapped tokens, in an order that the step alone decides
examples.py      sequences of conversations; sequences.py opens either
optimisation.py, checkpoints.py, export.py, model_card.py, tracking.py, throughput.py

Other trainers, instead of loop.py:

olmo.py          olmo-core; olmo_run, olmo_model, olmo_callback run in its Python
olmo_legacy.py   the YAML of the package that the paper used; olmo_legacy_train.py runs it
llamafactory.py  LLaMA-Factory's own command; llamafactory_environment, _tokenizer, _data, _files, _run, _result are its
                 steps, in this order; tether.py ends it with us
"""
