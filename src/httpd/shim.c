#include "shim.h"

#include <http_config.h>
#include <http_core.h>
#include <apr_hash.h>
#include <apr_optional.h>
#include <apr_strings.h>
#include <string.h>

APR_DECLARE_OPTIONAL_FN(int, ssl_is_https, (conn_rec *));
APR_DECLARE_OPTIONAL_FN(char *, ssl_var_lookup, (apr_pool_t *, server_rec *, conn_rec *, request_rec *, char *));

void rw_brigade_append(apr_bucket_brigade *bb, apr_bucket *b)
{
    APR_BRIGADE_INSERT_TAIL(bb, b);
}

apr_bucket *rw_brigade_first(apr_bucket_brigade *bb)
{
    return APR_BRIGADE_EMPTY(bb) ? NULL : APR_BRIGADE_FIRST(bb);
}

int rw_bucket_kind(const apr_bucket *b)
{
    if (APR_BUCKET_IS_EOS(b))
        return RW_BUCKET_EOS;
    return APR_BUCKET_IS_METADATA(b) ? RW_BUCKET_METADATA : RW_BUCKET_DATA;
}

apr_status_t rw_bucket_read(apr_bucket *b, const char **data, apr_size_t *length)
{
    return apr_bucket_read(b, data, length, APR_BLOCK_READ);
}

void rw_bucket_delete(apr_bucket *b)
{
    apr_bucket_delete(b);
}

apr_bucket *rw_bucket_new(apr_bucket_alloc_t *list)
{
    apr_bucket *b = apr_bucket_alloc(sizeof *b, list);
    APR_BUCKET_INIT(b);
    b->free = apr_bucket_free;
    b->list = list;
    return b;
}

int rw_enable_mmap(request_rec *r)
{
    core_dir_config *conf = ap_get_core_module_config(r->per_dir_config);
    return conf->enable_mmap != ENABLE_MMAP_OFF;
}

apr_size_t rw_flush_threshold(conn_rec *c)
{
#if AP_MODULE_MAGIC_AT_LEAST(20120211, 97)
    core_server_config *conf = ap_get_core_module_config(c->base_server->module_config);
    return conf->flush_max_threshold;
#else
    (void)c;
    return 65536;
#endif
}

apr_status_t rw_send_kept(conn_rec *c)
{
    ap_filter_t *last = c->output_filters;
    while (last->next)
        last = last->next;
    /* So MPMs complete an answer whose handler has returned. */
    return last->frec->filter_func.out_func(last, NULL);
}

int rw_is_https(conn_rec *c)
{
    APR_OPTIONAL_FN_TYPE(ssl_is_https) *is_https = APR_RETRIEVE_OPTIONAL_FN(ssl_is_https);
    return is_https && is_https(c);
}

const char *rw_ssl_variable(request_rec *r, const char *name)
{
    APR_OPTIONAL_FN_TYPE(ssl_var_lookup) *lookup = APR_RETRIEVE_OPTIONAL_FN(ssl_var_lookup);
    return lookup ? lookup(r->pool, r->server, r->connection, r, apr_pstrdup(r->pool, name)) : NULL;
}

int rw_cgi_pass_auth(request_rec *r)
{
    core_dir_config *conf = ap_get_core_module_config(r->per_dir_config);
    return conf->cgi_pass_auth == AP_CGI_PASS_AUTH_ON;
}

int rw_request_uri_is_current(request_rec *r)
{
    core_dir_config *conf = ap_get_core_module_config(r->per_dir_config);
    const char *rule = conf->cgi_var_rules
        ? apr_hash_get(conf->cgi_var_rules, "REQUEST_URI", APR_HASH_KEY_STRING) : NULL;
    return rule && strcmp(rule, "current-uri") == 0;
}
