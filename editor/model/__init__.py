"""A model and its text: adapters, loading, tokens, facts as requests.

    adapter_check  whether what an adapter says is true of a model, found out by running it; nothing is taken on
                   trust
    adapter_files  adapters from outside the table: read from a user's file, and from and to what a ledger records
    after_norm     A norm behind the edited module: what the module has to give so that the hidden state becomes
                   what is wanted
    architecture   adapters: where a model family keeps the parts that editing needs
    chat           the form in which a model is chatted with: its tokenizer's own template around what the user says
    decoding       rows of tokens continued side by side, by whatever chooses the next token
    folders        What transformers loads from a model's folder, and folders that cannot be edited, found out before
                   it is loaded
    gguf_files     GGUF, llama.cpp's file format: what a file holds, and the ordinary model folder that transformers
                   makes of it
    hooks          looking into a model and patching its weights, always undone on the way out
    loading        A base model: its files, their digests, and the model loaded from them
    requests       A fact as stage 1 and stage 2 see it: its rewriting prompts and its divergence prompt, encoded,
                   and its key
    text           from text to tokens: where the subject ends and the target begins

May import: config.
"""
