/* The ceiling of the benchmark: what httpd itself costs. A handler that answers as app.py does, with no work of its
 * own, so that no module that runs Python can be cheaper. */

#include "httpd.h" /* first: the others need it */

#include "apr_strings.h"
#include "apr_time.h"
#include "http_config.h"
#include "http_core.h"
#include "http_log.h"
#include "http_protocol.h"

#define MIB (1 << 20)
#define PIECE 1024
#define PIECES 1000
#define MAX_HEADERS 32

static const char hello[] = "Hello, world!\n";
static char data[MIB]; /* body.bin, filled in each child */
static char headers[MAX_HEADERS][2][256]; /* headers.txt, likewise: names and values */

static void load_headers(apr_pool_t *p, server_rec *s)
{
    apr_file_t *file;
    const char *path = ap_server_root_relative(p, "../site/headers.txt");
    char line[512];

    if (apr_file_open(&file, path, APR_FOPEN_READ, APR_OS_DEFAULT, p) != APR_SUCCESS) {
        ap_log_error(APLOG_MARK, APLOG_CRIT, 0, s, "cannot read %s", path);
        return;
    }
    for (int i = 0; i < MAX_HEADERS && apr_file_gets(line, sizeof line, file) == APR_SUCCESS; i++) {
        char *colon = strstr(line, ": ");

        if (colon == NULL)
            continue;
        *colon = '\0';
        apr_cpystrn(headers[i][0], line, sizeof headers[i][0]);
        apr_cpystrn(headers[i][1], colon + 2, sizeof headers[i][1]);
        headers[i][1][strcspn(headers[i][1], "\n")] = '\0';
    }
}

static void load_data(apr_pool_t *p, server_rec *s)
{
    apr_file_t *file;
    const char *path = ap_server_root_relative(p, "../site/body.bin");

    if (apr_file_open(&file, path, APR_FOPEN_READ, APR_OS_DEFAULT, p) != APR_SUCCESS
        || apr_file_read_full(file, data, sizeof data, NULL) != APR_SUCCESS)
        ap_log_error(APLOG_MARK, APLOG_CRIT, 0, s, "cannot read %s", path);
    load_headers(p, s);
}

static int answer(request_rec *r, const char *body, apr_off_t length)
{
    ap_set_content_length(r, length);
    ap_rwrite(body, (int)length, r);
    return OK;
}

static int answer_headers(request_rec *r)
{
    const char *cookie = apr_table_get(r->headers_in, "Cookie");

    if (cookie == NULL)
        return HTTP_BAD_REQUEST;
    for (int i = 0; i < MAX_HEADERS && headers[i][0][0] != '\0'; i++)
        apr_table_addn(r->headers_out, headers[i][0], headers[i][1]);
    return answer(r, cookie, (apr_off_t)strlen(cookie));
}

static int send_size(request_rec *r)
{
    apr_off_t left = r->args != NULL ? apr_atoi64(r->args) : 0;

    ap_set_content_length(r, left);
    for (; left > 0; left -= MIB)
        ap_rwrite(data, (int)(left < MIB ? left : MIB), r);
    return OK;
}

static int send_chunks(request_rec *r)
{
    int pause = r->args != NULL && strcmp(r->args, "pause") == 0;

    for (int i = 0; i < PIECES; i++) {
        ap_rwrite(data + i * PIECE, PIECE, r);
        ap_rflush(r);
        if (pause && i == 0)
            apr_sleep(apr_time_from_msec(250));
    }
    return OK;
}

static int sleep_first(request_rec *r)
{
    apr_sleep(apr_time_from_msec(5));
    return answer(r, hello, sizeof hello - 1);
}

static int send_file(request_rec *r)
{
    apr_file_t *file;
    apr_finfo_t info;
    apr_size_t sent;

    if (apr_file_open(&file, ap_server_root_relative(r->pool, "../site/file.bin"), APR_FOPEN_READ, APR_OS_DEFAULT,
                      r->pool) != APR_SUCCESS
        || apr_file_info_get(&info, APR_FINFO_SIZE, file) != APR_SUCCESS)
        return HTTP_NOT_FOUND;
    ap_set_content_length(r, info.size);
    ap_send_fd(file, r, 0, (apr_size_t)info.size, &sent);
    return OK;
}

static int read_upload(request_rec *r)
{
    int echo = r->args != NULL && strcmp(r->args, "echo") == 0;
    char *kept = echo ? apr_palloc(r->pool, MIB) : NULL;
    char buffer[65536];
    apr_off_t length = 0;
    long got;

    if (ap_setup_client_block(r, REQUEST_CHUNKED_DECHUNK) != OK || !ap_should_client_block(r))
        return HTTP_BAD_REQUEST;
    while ((got = ap_get_client_block(r, buffer, sizeof buffer)) > 0) {
        if (echo && length + got <= MIB)
            memcpy(kept + length, buffer, (size_t)got);
        length += got;
    }
    if (got < 0)
        return HTTP_BAD_REQUEST;
    if (echo)
        return answer(r, kept, length <= MIB ? length : MIB);
    const char *text = apr_off_t_toa(r->pool, length);
    return answer(r, text, (apr_off_t)strlen(text));
}

static int handle(request_rec *r)
{
    if (strcmp(r->handler, "ceiling") != 0)
        return DECLINED;
    ap_set_content_type(r, "text/plain");
    if (strcmp(r->uri, "/hello") == 0)
        return answer(r, hello, sizeof hello - 1);
    if (strcmp(r->uri, "/headers") == 0)
        return answer_headers(r);
    if (strcmp(r->uri, "/size") == 0)
        return send_size(r);
    if (strcmp(r->uri, "/body") == 0)
        return answer(r, data, sizeof data);
    if (strcmp(r->uri, "/chunks") == 0)
        return send_chunks(r);
    if (strcmp(r->uri, "/file") == 0)
        return send_file(r);
    if (strcmp(r->uri, "/upload") == 0)
        return read_upload(r);
    if (strcmp(r->uri, "/sleep") == 0)
        return sleep_first(r);
    return HTTP_NOT_FOUND;
}

static void register_hooks(apr_pool_t *p)
{
    (void)p;
    ap_hook_child_init(load_data, NULL, NULL, APR_HOOK_MIDDLE);
    ap_hook_handler(handle, NULL, NULL, APR_HOOK_MIDDLE);
}

AP_DECLARE_MODULE(ceiling) = {STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, NULL, register_hooks, 0};
