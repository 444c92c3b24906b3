from django.contrib import admin
from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt


def greet(request):
    return HttpResponse(f"Hello from Django as {request.user.get_username() or 'nobody'}")


@csrf_exempt
def upload(request):
    file = request.FILES["file"]
    total = sum(sum(chunk) for chunk in file.chunks())
    return JsonResponse({"name": file.name, "length": file.size, "sum": total, "text": request.POST["text"]})


def stream(request):
    return StreamingHttpResponse((f"row {number}\n" for number in range(1000)), content_type="text/csv")


def fails(request):
    raise ValueError("a view failed")


urlpatterns = [
    path("admin/", admin.site.urls),
    path("", greet),
    path("upload/", upload),
    path("stream/", stream),
    path("fails/", fails),
]
