/* httpd's half of least.c and least_handover.c: a request as least_python.h wants it, and the head of an answer as that
 * gives it. To be included after httpd's own. */

struct variables {
    char *at, *end; /* where the next one goes, and where the room ends */
};

/* Adds a variable; one that does not fit is left out. */
static void put(struct variables *to, const char *prefix, const char *name, const char *value)
{
    size_t before = strlen(prefix), length = strlen(name), size = value != NULL ? strlen(value) + 1 : 1;

    if (before + length + 1 + size > (size_t)(to->end - to->at))
        return;
    to->at = (char *)memcpy(to->at, prefix, before) + before;
    for (; *name != '\0'; name++)
        *to->at++ = *name == '-' ? '_' : *name >= 'a' && *name <= 'z' ? *name - 'a' + 'A' : *name;
    *to->at++ = '\0';
    to->at = (char *)memcpy(to->at, value != NULL ? value : "", size) + size;
}

/* Writes the request's variables; returns their length. */
static size_t write_request(request_rec *r, char *buffer, size_t size)
{
    struct variables to = {buffer, buffer + size};
    const apr_array_header_t *headers = apr_table_elts(r->headers_in);
    const apr_table_entry_t *header = (const apr_table_entry_t *)headers->elts, *end = header + headers->nelts;
    char port[8];

    apr_snprintf(port, sizeof port, "%d", (int)ap_get_server_port(r));
    put(&to, "", "REQUEST_METHOD", r->method);
    put(&to, "", "PATH_INFO", r->uri);
    put(&to, "", "QUERY_STRING", r->args);
    put(&to, "", "SERVER_NAME", ap_get_server_name(r));
    put(&to, "", "SERVER_PORT", port);
    put(&to, "", "SERVER_PROTOCOL", r->protocol);
    put(&to, "", "REMOTE_ADDR", r->useragent_ip);
    for (; header < end; header++) {
        int bare = strcasecmp(header->key, "Content-Length") == 0 || strcasecmp(header->key, "Content-Type") == 0;

        put(&to, bare ? "" : "HTTP_", header->key, header->val);
    }
    return (size_t)(to.at - buffer);
}

/* Takes status and headers of an answer. */
static void set_head(request_rec *r, const char *head, size_t length)
{
    const char *at = apr_pmemdup(r->pool, head, length), *end = at + length;

    r->status = atoi(at);
    r->status_line = at;
    while ((at += strlen(at) + 1) < end) {
        const char *name = at;

        at += strlen(at) + 1;
        if (strcasecmp(name, "Content-Type") == 0)
            ap_set_content_type(r, at);
        else
            apr_table_addn(r->headers_out, name, at);
    }
}
