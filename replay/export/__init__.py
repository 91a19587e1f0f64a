"""Versions written out: model folders, LoRA adapters, GGUF files; the log, as an audit bundle; and bases made over.

    adapter_card    what an exported adapter's folder says about itself: README.md for people, errata_version.json
                    for programs
    adapter_export  A version as a LoRA adapter in PEFT's format: two factors for each edited module, to be served
                    on the base model
    audit_bundle    An audit bundle written out, and the record that it was
    checkout        write a version as a folder that `transformers`, and whatever reads its format, loads as it is
    dequantise      a GGUF file's model as an ordinary folder of float32, which a ledger can be based on
    gguf_export     A version as a GGUF file, by llama.cpp's own converter, and the check that the file has the
                    version's weights
    hub             A model hub, by way of `huggingface_hub`: what a repository holds, and a folder sent to it in one
                    commit
    model_card      the model card of a checked-out version: what a stranger who finds the folder has to know about
                    it
    reshard         A copy of a base model in which the edited tensors have a shard of their own
    sharing         give a new file the bytes of another one as cheaply as the disk allows
    whole_folder    folders that are there whole or not at all

May import: record, versions.
"""
