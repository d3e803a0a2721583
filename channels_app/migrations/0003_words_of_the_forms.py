"""Help texts only: nothing changes in the database."""

import channels_app.models.validators
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('channels_app', '0002_twilio'),
    ]

    operations = [
        migrations.AlterField(
            model_name='apikey',
            name='allow_anonymous_read',
            field=models.BooleanField(default=False, help_text='Reads, without a user key, the channels that are open to every user: for an app without a login.'),
        ),
        migrations.AlterField(
            model_name='apikey',
            name='allow_group_create',
            field=models.BooleanField(default=False, help_text='Makes groups of the instance: for an app in which people form them.'),
        ),
        migrations.AlterField(
            model_name='apikey',
            name='allow_user_create',
            field=models.BooleanField(default=False, help_text='Makes users of the instance: for an app in which people sign up by themselves.'),
        ),
        migrations.AlterField(
            model_name='apikey',
            name='description',
            field=models.TextField(blank=True, default='', help_text='For people: which app or server has the key.'),
        ),
        migrations.AlterField(
            model_name='apikey',
            name='ignore_acl',
            field=models.BooleanField(default=False, help_text="Reads, publishes and manages channels whatever their permissions: for your own servers. Without it the key reads and publishes only beside a user key, with that user's rights."),
        ),
        migrations.AlterField(
            model_name='apikey',
            name='instance',
            field=models.ForeignKey(help_text='The key opens this one only.', on_delete=django.db.models.deletion.CASCADE, related_name='api_keys', to='channels_app.instance'),
        ),
        migrations.AlterField(
            model_name='channel',
            name='custom_publish',
            field=models.BooleanField(default=False, help_text='Clients may publish to it. Without it nobody may, whatever their permissions.'),
        ),
        migrations.AlterField(
            model_name='channel',
            name='description',
            field=models.TextField(blank=True, default='', help_text='For people: what the channel is for.'),
        ),
        migrations.AlterField(
            model_name='channel',
            name='expires_at',
            field=models.DateTimeField(blank=True, db_index=True, help_text='When the channel is deleted, in UTC. Empty: never.', null=True),
        ),
        migrations.AlterField(
            model_name='channel',
            name='group',
            field=models.ForeignKey(blank=True, help_text='Of the same instance; its users have the group permissions. Empty: nobody has them.', null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='channels', to='channels_app.group'),
        ),
        migrations.AlterField(
            model_name='channel',
            name='group_permissions',
            field=models.CharField(choices=[('none', 'None'), ('subscribe', 'Subscribe'), ('publish', 'Publish')], default='none', help_text='What the users in the group may do: nothing, subscribe (read), or publish, which includes reading.', max_length=9),
        ),
        migrations.AlterField(
            model_name='channel',
            name='instance',
            field=models.ForeignKey(help_text='Whose keys and users open it.', on_delete=django.db.models.deletion.CASCADE, related_name='channels', to='channels_app.instance'),
        ),
        migrations.AlterField(
            model_name='channel',
            name='name',
            field=models.CharField(help_text="Up to 64 lower-case letters, digits, hyphens and underscores; part of the channel's URL.", max_length=64, validators=[channels_app.models.validators.validate_channel_name]),
        ),
        migrations.AlterField(
            model_name='channel',
            name='other_permissions',
            field=models.CharField(choices=[('none', 'None'), ('subscribe', 'Subscribe'), ('publish', 'Publish')], default='none', help_text='What every user of the instance may do, in the group or not.', max_length=9),
        ),
        migrations.AlterField(
            model_name='channel',
            name='type',
            field=models.CharField(choices=[('default', 'Default'), ('separate_rooms', 'Separate Rooms')], default='default', help_text='default: who listens hears every message. separate_rooms: who publishes and who listens names a room, and hears that one only.', max_length=14),
        ),
    ]
