from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from rest_framework import generics, serializers

from .models import Message


class MessageSerializer(serializers.ModelSerializer):
    class Meta:
        model = Message
        fields = ("id", "room", "payload", "created_at")
        read_only_fields = ("room",)


class PublishView(generics.CreateAPIView):
    serializer_class = MessageSerializer

    def perform_create(self, serializer: serializers.BaseSerializer[Message]) -> None:
        room = self.kwargs["room"]
        serializer.save(room=room)
        async_to_sync(get_channel_layer().group_send)(room, {"type": "chat.message", "message": serializer.data})
