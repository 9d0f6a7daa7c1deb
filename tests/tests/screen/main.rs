//! What people have before them: the chat in lines, and the full screen in a real terminal.

mod ends;
mod files;
mod full;
mod pictures;
mod plain;
