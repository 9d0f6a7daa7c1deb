// Stores the token that the server has sent in exchange for the one-time token, then opens the chat.
// The storage is this tab's own, and ends with it.
const token = document.querySelector('meta[name="hobnob-token"]').content;
sessionStorage.setItem('hobnob-token', token);
location.replace('/');
