/* What httpd and APR offer only as macros, made callable. Nothing here decides anything. */
#ifndef RWSGI_SHIM_H
#define RWSGI_SHIM_H

#include <httpd.h>
#include <apr_buckets.h>

/* Kinds of buckets as rw_bucket_kind() tells them. */
#define RW_BUCKET_DATA 0
#define RW_BUCKET_METADATA 1
#define RW_BUCKET_EOS 2

void rw_brigade_append(apr_bucket_brigade *bb, apr_bucket *b);
apr_bucket *rw_brigade_first(apr_bucket_brigade *bb); /* NULL when empty */
int rw_bucket_kind(const apr_bucket *b);
apr_status_t rw_bucket_read(apr_bucket *b, const char **data, apr_size_t *length);
void rw_bucket_delete(apr_bucket *b);

apr_bucket *rw_bucket_new(apr_bucket_alloc_t *list);                 /* without type, data and length */
int rw_enable_mmap(request_rec *r);                /* EnableMMAP covers this request */

apr_size_t rw_flush_threshold(conn_rec *c);        /* FlushMaxThreshold, in bytes */
/* What httpd's last output filter keeps goes out as far as there is room, which is not waited for. */
apr_status_t rw_send_kept(conn_rec *c);

int rw_is_https(conn_rec *c);                      /* mod_ssl's opinion; 0 without mod_ssl */
/* A variable of mod_ssl for this request; empty when it has none of that name, NULL without mod_ssl. */
const char *rw_ssl_variable(request_rec *r, const char *name);
int rw_cgi_pass_auth(request_rec *r);              /* CGIPassAuth On covers this request */
int rw_request_uri_is_current(request_rec *r);     /* CGIVar REQUEST_URI current-uri covers it */

#endif
