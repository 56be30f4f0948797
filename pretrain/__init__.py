"""`stage=pretrain`: GPT-2, OLMo and other decoders of Transformers from scratch, on one process or many ranks.

stage.py         plan and report, as every stage has them
launch.py        one process as it is, or ranks with torch's elastic launcher; worker.py is what a rank runs
loop.py          the steps: batches, loss, clipping, validation, checkpoints
models.py        fresh models; language_model.py: their loss; weights.py: where weights lie, alone and with FSDP2
data.py          sequences of the memory-mapped tokens, in an order that the step alone decides
olmo_legacy.py   instead: the YAML of the package that the paper used; olmo_legacy_train.py runs it
optimisation.py, checkpoints.py, export.py, tracking.py, throughput.py
olmo.py          trainer=olmo: olmo-core instead of loop.py; olmo_run, olmo_model, olmo_callback run in its Python
"""
